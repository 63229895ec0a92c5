import { OverviewScreen } from './_parts/overview-screen.tsx'

export default function OverviewPage() {
  return <OverviewScreen />
}
