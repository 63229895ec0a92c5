'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import NextLink from 'next/link'
import { useState } from 'react'
import { useMayNotVm } from '#components/access/use-may-vm.ts'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { clones as messages } from '#lib/i18n/messages/en/clones.ts'
import { paths } from '#lib/paths.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

const CloneDialog = dynamic(() => import('#components/vm/clone-dialog.tsx').then((m) => m.CloneDialog), { ssr: false })

/** What the VM is a clone of, and what stands on its disks. */
export function VmClones({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const mayNot = useMayNotVm(vm, 'vm.create')
  const [cloning, setCloning] = useState(false)
  const standing = useQuery(queries.vmCloneFacts(vm.id)).data?.standing
  const count = standing === undefined ? 0 : standing.vms.length + standing.others
  const isTemplate = vm.template !== undefined
  return (
    <Section
      title={t('section')}
      actions={
        <Button size="sm" disabledReason={mayNot} onClick={() => setCloning(true)}>
          {t(isTemplate ? 'newFromTemplate' : 'action')}
        </Button>
      }
    >
      <div className="flex flex-col gap-2">
        {vm.origin !== undefined && (
          <p>
            {t.rich(vm.origin.kind === 'linked' ? 'originLinked' : 'originFull', {
              link: () => (
                <NextLink href={paths.vm(vm.origin?.vmId ?? '')} prefetch={false} className="underline">
                  {vm.origin?.name}
                </NextLink>
              ),
            })}
            {vm.origin.snapshot !== null && ` ${t('originSnapshot', { snapshot: vm.origin.snapshot })}`}{' '}
            <span className="text-faint">
              <Time at={vm.origin.at} />
            </span>
          </p>
        )}
        {count === 0 ? (
          <p className="text-faint">{t('nobody')}</p>
        ) : (
          <>
            <p>{t(isTemplate ? 'standingTemplate' : 'standing', { count })}</p>
            <ul className="flex flex-wrap gap-x-3 gap-y-1">
              {standing?.vms.map((one) => (
                <li key={one.id}>
                  <NextLink href={paths.vm(one.id)} prefetch={false} className="underline">
                    {one.name}
                  </NextLink>
                </li>
              ))}
              {standing !== undefined && standing.others > 0 && (
                <li className="text-faint">{t('others', { count: standing.others })}</li>
              )}
            </ul>
          </>
        )}
      </div>
      {cloning && <CloneDialog vm={vm} onClose={() => setCloning(false)} />}
    </Section>
  )
}
