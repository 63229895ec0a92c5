'use client'
import { useQueryClient } from '@tanstack/react-query'
import { Cable, Cpu, Disc3, HardDrive, Keyboard, MemoryStick, Monitor, Network, Plug, Trash2, Usb } from 'lucide-react'
import dynamic from 'next/dynamic'
import { type ReactNode, useState } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { Badge, type BadgeTone } from '#components/ui/badge.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Switch } from '#components/ui/choice.tsx'
import { cx } from '#components/ui/cx.ts'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation } from '#lib/client/mutations.ts'
import { toastError } from '#lib/client/toasts.ts'
import type { Group } from '#lib/devices/catalogue.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import { paths } from '#lib/paths.ts'
import type { Drive, NetworkCard } from '#lib/schema/vm-spec.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { DeviceList as ListName } from '#lib/vm/live-types.ts'
import { type DeviceEntry, type Entry, type EntryGroup, type EntryState, entriesOf, type Target } from './entries.ts'
import { useDescribe } from './use-describe.ts'

const CdDialog = dynamic(() => import('../../_parts/cd-dialog.tsx').then((part) => part.CdDialog), { ssr: false })

const TONE: Record<EntryState, BadgeTone> = {
  off: 'plain',
  running: 'running',
  added: 'attention',
  ready: 'accent',
  changed: 'attention',
  changeReady: 'accent',
  medium: 'attention',
  leaving: 'attention',
  removed: 'attention',
  removeReady: 'accent',
}

const ICON: Record<ListName, typeof Cpu> = {
  disks: HardDrive,
  networks: Network,
  dimms: MemoryStick,
  inputs: Keyboard,
  channels: Cable,
  shares: HardDrive,
  hostDevices: Usb,
}
const GROUP_ICON: Record<Group, typeof Cpu> = {
  platform: Cpu,
  storage: HardDrive,
  network: Network,
  screen: Monitor,
  bus: Plug,
}

/** Where an entry is edited. */
export const editorOf = (vm: Pick<Vm, 'id'>, target: Target): string =>
  paths.vmDevices(
    vm.id,
    target.kind === 'device'
      ? { device: target.id }
      : target.kind === 'part'
        ? { part: target.part }
        : { add: target.what },
  )

const isSameTarget = (entry: Entry, target: Target | null): boolean =>
  target !== null &&
  (entry.kind === 'device'
    ? entry.isStored && target.kind === 'device' && target.id === entry.id
    : target.kind === 'part' && target.part === entry.part)

/** Everything the machine has, in the order of the catalogue, with its state and what can be done to it. */
export function DeviceList({
  vm,
  target,
  mayNot,
  onRemove,
}: {
  readonly vm: Vm
  /** What is being edited. */
  readonly target: Target | null
  readonly mayNot: string | null
  readonly onRemove: (entry: DeviceEntry) => void
}) {
  const t = useT(devicesPage)
  const [drive, setDrive] = useState<string | null>(null)
  const chosen = vm.spec.disks.find((disk) => disk.id === drive)
  const row = (group: EntryGroup['group'], entry: Entry) => (
    <Row
      key={entry.key}
      vm={vm}
      group={group}
      entry={entry}
      isOpen={isSameTarget(entry, target)}
      mayNot={mayNot}
      onRemove={onRemove}
      onMedium={setDrive}
    />
  )
  return (
    <>
      {entriesOf(vm).map(({ group, entries }) => (
        <Section key={group} title={t(`group.${group}`)}>
          {entries.length === 0 ? (
            <p className="text-dim">{t(`none.${group}`)}</p>
          ) : (
            <ul aria-label={t(`group.${group}`)} className="@container flex flex-col divide-y divide-line">
              {entries.map((entry) => row(group, entry))}
            </ul>
          )}
        </Section>
      ))}
      {chosen?.device === 'cdrom' && <CdDialog vm={vm} drive={chosen} onClose={() => setDrive(null)} />}
    </>
  )
}

function Row({
  vm,
  group,
  entry,
  isOpen,
  mayNot,
  onRemove,
  onMedium,
}: {
  readonly vm: Vm
  readonly group: Group
  readonly entry: Entry
  readonly isOpen: boolean
  readonly mayNot: string | null
  readonly onRemove: (entry: DeviceEntry) => void
  readonly onMedium: (id: string) => void
}) {
  const t = useT(devicesPage)
  const { name, what, place } = useDescribe()(vm.spec, entry)
  const [first, ...rest] = what
  const Icon =
    entry.kind === 'part'
      ? GROUP_ICON[group]
      : entry.list === 'disks' && (entry.device as Drive).device === 'cdrom'
        ? Disc3
        : ICON[entry.list]
  const isGone = entry.kind === 'device' && !entry.isStored
  const target: Target = entry.kind === 'device' ? { kind: 'device', id: entry.id } : { kind: 'part', part: entry.part }
  return (
    <li
      id={entry.kind === 'device' ? `device-${entry.id}${isGone ? '-leaving' : ''}` : `part-${entry.part}`}
      className={cx(
        'grid min-w-0 scroll-mt-16 items-center target:rounded-md target:bg-selected gap-x-3 gap-y-1 px-2 py-2 @md:grid-cols-[auto_minmax(0,1fr)_auto] @3xl:grid-cols-[auto_minmax(0,1fr)_9rem_15rem]',
        // One button fits beside the text everywhere, more of them only where there is room.
        entry.kind === 'part' ? 'grid-cols-[auto_minmax(0,1fr)_auto]' : 'grid-cols-[auto_minmax(0,1fr)]',
        isOpen && 'rounded-md bg-selected',
      )}
    >
      <Icon size={16} aria-hidden="true" className="mt-0.5 self-start text-faint" />
      <div className="min-w-0">
        <div className="flex flex-wrap items-center gap-x-2 gap-y-1">
          <h3 className={cx('min-w-0 break-words', isGone && 'text-dim line-through')}>{name}</h3>
          {(entry.kind === 'device' || (entry.state !== 'running' && entry.state !== 'off')) && (
            <Badge tone={TONE[entry.state]} tip={entry.reason ?? undefined}>
              {t(`state.${entry.state}`)}
            </Badge>
          )}
        </div>
        <p className="figures text-dim text-sm [overflow-wrap:anywhere]">
          {first}
          {rest.length > 0 && <span className="text-faint"> · {rest.join(' · ')}</span>}
          {place && <span className="text-faint @3xl:hidden"> · {place}</span>}
        </p>
        {entry.reason && <p className="text-attention text-sm">{entry.reason}</p>}
      </div>
      <span className="hidden text-faint text-sm @3xl:block">{place}</span>
      <div
        className={cx(
          'flex flex-wrap items-center gap-1.5 @md:col-start-auto @md:justify-end',
          entry.kind === 'device' && 'col-start-2',
        )}
      >
        {entry.kind === 'device' && !isGone && <Quick vm={vm} entry={entry} mayNot={mayNot} onMedium={onMedium} />}
        {!isGone && (
          <ButtonLink
            size="sm"
            href={editorOf(vm, target)}
            scroll={false}
            aria-label={t('editNamed', { name })}
            aria-current={isOpen ? 'true' : undefined}
          >
            {t('edit')}
          </ButtonLink>
        )}
        {entry.kind === 'device' && (
          <IconButton
            size="sm"
            label={t('removeNamed', { name })}
            disabledReason={isGone ? t('goneAlready') : mayNot}
            onClick={() => onRemove(entry)}
          >
            <Trash2 size={14} aria-hidden="true" />
          </IconButton>
        )}
      </div>
    </li>
  )
}

/** What is done often, without a form: another CD, the cable of a card. */
function Quick({
  vm,
  entry,
  mayNot,
  onMedium,
}: {
  readonly vm: Vm
  readonly entry: DeviceEntry
  readonly mayNot: string | null
  readonly onMedium: (id: string) => void
}): ReactNode {
  const t = useT(devicesPage)
  const client = useQueryClient()
  const update = useOperation('vmUpdate', { onSuccess: (saved) => putVm(client, saved) })
  const { id } = entry
  if (entry.list === 'disks') {
    const drive = entry.device as Drive
    if (drive.device !== 'cdrom') return null
    const seedHeld = drive.seed === null ? null : t('seedHeld')
    const eject = () =>
      update.mutate(
        {
          input: {
            params: { id: vm.id },
            body: { disks: vm.spec.disks.map((disk) => (disk.id === id ? { ...disk, image: null } : disk)) },
          },
          ifMatch: vm.revision,
        },
        { onError: (error) => toastError(error, t('failed.eject', { id })) },
      )
    return (
      <>
        <Button
          size="sm"
          aria-label={t('changeNamed', { id })}
          disabledReason={mayNot ?? seedHeld}
          onClick={() => onMedium(id)}
        >
          {t('change')}
        </Button>
        <Button
          size="sm"
          aria-label={t('ejectNamed', { id })}
          pending={update.isPending}
          disabledReason={mayNot ?? seedHeld ?? (drive.image === null ? t('ejectEmpty') : null)}
          onClick={eject}
        >
          {t('eject')}
        </Button>
      </>
    )
  }
  if (entry.list !== 'networks') return null
  const card = entry.device as NetworkCard
  const networks = vm.spec.networks.map((other) => (other.id === id ? { ...other, link: !card.link } : other))
  return (
    <Switch
      inline
      label={t('cableShort')}
      aria-label={t('cable', { id })}
      checked={card.link}
      aria-busy={update.isPending || undefined}
      disabledReason={mayNot ?? (card.network === 'none' ? t('cableNone') : null)}
      onChange={() => {
        if (update.isPending) return
        update.mutate(
          { input: { params: { id: vm.id }, body: { networks } }, ifMatch: vm.revision },
          { onError: (error) => toastError(error, t('failed.cable', { id })) },
        )
      }}
    />
  )
}
