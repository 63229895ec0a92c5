'use client'
import { useQuery } from '@tanstack/react-query'
import { Dialog } from '#components/ui/dialog.tsx'
import { CommandLineView } from '#components/vm/command-line.tsx'
import { goneFrom, markAgainst } from '#components/vm/command-line-groups.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { CommandLine } from '#lib/schema/command-line.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** The command line a change leads to, against that of the stored definition: what comes is marked, what goes is listed. */
export function PlanLine({
  vm,
  line,
  onClose,
}: {
  readonly vm: Vm
  readonly line: CommandLine
  readonly onClose: () => void
}) {
  const t = useT(devicesPage)
  const words = useT(app)
  const stored = useQuery(queries.vmCommandLine(vm.id)).data
  const shown = stored === undefined ? line : markAgainst(line, stored)
  const gone = stored === undefined ? [] : goneFrom(line, stored)
  const isSame = gone.length === 0 && ![...shown.wrapper, ...shown.options].some((option) => option.changed)
  return (
    <Dialog title={t('editor.lineTitle')} closeLabel={words('close')} onClose={onClose} width="lg">
      <div className="flex flex-col gap-4">
        <p className="max-w-prose text-dim">{t(isSame ? 'editor.lineSame' : 'editor.lineNote')}</p>
        {gone.length > 0 && (
          <section aria-label={t('editor.lineGoes')} className="flex flex-col gap-1">
            <h3 className="text-dim">{t('editor.lineGoes')}</h3>
            <ul className="flex flex-col divide-y divide-line rounded-md border border-line bg-surface">
              {gone.map((option) => (
                <li key={option.argv.join(' ')} className="px-3 py-2">
                  <code className="font-mono text-dim text-sm line-through [overflow-wrap:anywhere]">
                    {option.argv.join(' ')}
                  </code>
                </li>
              ))}
            </ul>
          </section>
        )}
        <CommandLineView line={shown} changedAgainst="stored" startWithChanged={!isSame} />
      </div>
    </Dialog>
  )
}
