import { VmOverview } from './_parts/vm-overview.tsx'

export default function VmPage() {
  return <VmOverview />
}
