'use client'
import NextLink from 'next/link'
import { paths } from '#lib/paths.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { ScreenThumbnail } from './screen-thumbnail.tsx'
import { VmActionsMenu } from './vm-actions-menu.tsx'
import { VmStateMark } from './vm-state.tsx'

/** A VM as its screen, name and state. The picture leads to the console of a running guest. */
export function VmCard({ vm }: { readonly vm: Vm }) {
  return (
    <article className="group relative flex min-w-0 flex-col gap-1.5">
      <ScreenThumbnail vm={vm} width={320} className="w-full group-hover:border-edge" />
      <div className="flex items-start gap-1">
        <div className="min-w-0 flex-1">
          <NextLink
            href={vm.live ? paths.vmConsole(vm.id) : paths.vm(vm.id)}
            prefetch={false}
            className="block truncate rounded-sm font-medium after:absolute after:inset-0 hover:underline"
          >
            {vm.name}
          </NextLink>
          <span className="text-sm">
            <VmStateMark state={vm.state} />
          </span>
        </div>
        <span className="relative z-1">
          <VmActionsMenu vm={vm} size="sm" />
        </span>
      </div>
    </article>
  )
}
