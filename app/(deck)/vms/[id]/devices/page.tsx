import { DevicesScreen } from './_parts/devices-screen.tsx'

export default function DevicesPage() {
  return <DevicesScreen />
}
