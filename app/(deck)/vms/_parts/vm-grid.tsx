'use client'
import { Skeleton } from '#components/ui/feedback.tsx'
import { VmCard } from '#components/vm/vm-card.tsx'
import type { Vm } from '#lib/schema/vm-state.ts'

const LOADING_CARDS = 8

/** The VMs as pictures of their screens. */
export function VmGrid({ vms, loading }: { readonly vms: readonly Vm[]; readonly loading: boolean }) {
  return (
    <ul className="grid grid-cols-2 gap-3 sm:grid-cols-[repeat(auto-fill,minmax(13rem,1fr))]">
      {loading
        ? Array.from({ length: LOADING_CARDS }, (_, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: placeholders have no identity
            <li key={index}>
              <Skeleton className="aspect-[8/5] w-full" />
              <Skeleton className="mt-2 h-4 w-2/3" />
            </li>
          ))
        : vms.map((vm) => (
            // Off-screen cards are neither laid out nor photographed.
            <li key={vm.id} className="[contain-intrinsic-size:auto_13rem] [content-visibility:auto]">
              <VmCard vm={vm} />
            </li>
          ))}
    </ul>
  )
}
