'use client'
import { useQuery } from '@tanstack/react-query'
import { Trash2 } from 'lucide-react'
import { ApplianceReport } from '#components/images/appliance-report.tsx'
import { ButtonLink } from '#components/nav/link.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Section } from '#components/ui/page.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import { paths } from '#lib/paths.ts'
import type { Appliance } from '#lib/schema/appliance.ts'

/** Drafts of VMs that came with OVA files; nothing on the page while there are none. */
export function AppliancesSection({
  open,
  onOpen,
}: {
  /** Whose report is shown. */
  readonly open: string | null
  readonly onOpen: (id: string | null) => void
}) {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.applianceList())
  const all = data?.items ?? []
  const shown = all.find(({ id }) => id === open)
  if (error && !data) return <LoadError error={error} onRetry={() => void refetch()} />
  if (all.length === 0) return null
  return (
    <Section title={t('appliances.title')} note={t('appliances.intro')}>
      <ul className="-mt-3 flex flex-col">
        {all.map((appliance) => (
          <ApplianceRow key={appliance.id} appliance={appliance} onReport={() => onOpen(appliance.id)} />
        ))}
      </ul>
      {shown && <ReportDialog appliance={shown} onClose={() => onOpen(null)} />}
    </Section>
  )
}

const dropped = ({ report }: Appliance) => report.filter(({ fate }) => fate === 'dropped').length

function ApplianceRow({ appliance, onReport }: { readonly appliance: Appliance; readonly onReport: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const canCreate = useCan('vm.create')
  const canDelete = useCan('image.delete')
  const { mutateAsync: forget } = useOperation('applianceDelete')
  const { name } = appliance
  const ask = () =>
    askToConfirm({
      title: t('appliances.forget', { name }),
      goes: [t('appliances.forgetGoes')],
      stays: [t('appliances.forgetStays')],
      confirmLabel: t('appliances.forgetConfirm'),
      danger: true,
      run: async () => {
        await forget({ input: { params: { id: appliance.id } } })
        showToast({ kind: 'done', title: t('appliances.forgotten', { name }) })
      },
    })
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-1 border-line border-b py-2.5">
      <span className="min-w-0 flex-1 basis-56">
        <span className="block break-all font-medium">{name}</span>
        <span className="flex flex-wrap gap-x-3 text-faint text-sm">
          <span>{t('appliances.disks', { count: appliance.images.length })}</span>
          <span>{t('appliances.lost', { count: dropped(appliance) })}</span>
          <span>
            {appliance.addedBy.name}, <Time at={appliance.addedAt} />
          </span>
        </span>
      </span>
      <span className="inline-flex items-center gap-1">
        <Button size="sm" aria-label={t('appliances.reportOn', { name })} onClick={onReport}>
          {t('appliances.report')}
        </Button>
        {canCreate && (
          <ButtonLink
            size="sm"
            href={paths.vmNewFromAppliance(appliance.id)}
            aria-label={t('appliances.useNamed', { name })}
          >
            {t('appliances.use')}
          </ButtonLink>
        )}
        <IconButton
          size="sm"
          label={t('appliances.forget', { name })}
          disabledReason={canDelete ? null : tApp('notAllowed')}
          onClick={ask}
        >
          <Trash2 size={14} aria-hidden="true" />
        </IconButton>
      </span>
    </li>
  )
}

function ReportDialog({ appliance, onClose }: { readonly appliance: Appliance; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const canCreate = useCan('vm.create')
  return (
    <Dialog
      title={t('appliances.reportOf', { name: appliance.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      footer={
        <>
          <Button onClick={onClose}>{tApp('close')}</Button>
          {canCreate && (
            <ButtonLink variant="primary" href={paths.vmNewFromAppliance(appliance.id)}>
              {t('appliances.use')}
            </ButtonLink>
          )}
        </>
      }
    >
      <p className="text-dim">{t('appliances.reportIntro')}</p>
      <ApplianceReport report={appliance.report} />
    </Dialog>
  )
}
