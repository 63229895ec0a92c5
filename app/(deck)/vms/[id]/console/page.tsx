import { ConsoleScreen } from './_parts/console-screen.tsx'

export default function ConsolePage() {
  return <ConsoleScreen />
}
