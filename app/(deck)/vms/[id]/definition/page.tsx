import { DefinitionScreen } from './_parts/definition-screen.tsx'

export default function DefinitionPage() {
  return <DefinitionScreen />
}
