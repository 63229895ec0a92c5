'use client'
import { Cable, Disc3, FolderOpen, HardDrive, Keyboard, MemoryStick, Network, Plus, Usb } from 'lucide-react'
import { useRouter } from 'next/navigation'
import { Menu } from '#components/ui/menu.tsx'
import { ROW_LIMITS } from '#components/vm/fields/rows.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { LIST_OF } from './change-draft.ts'
import { editorOf } from './device-list.tsx'
import { ADD_KINDS, type AddKind } from './entries.ts'

const ICON: Record<AddKind, typeof Plus> = {
  disk: HardDrive,
  cdrom: Disc3,
  network: Network,
  dimm: MemoryStick,
  input: Keyboard,
  channel: Cable,
  share: FolderOpen,
  host: Usb,
}
/** As the schema of the definition allows. */
const LIMITS = { ...ROW_LIMITS, disks: 30, networks: 8 }

/** Every kind of device that can be added, with the reason where it cannot. */
export function AddMenu({ vm, mayNot }: { readonly vm: Vm; readonly mayNot: string | null }) {
  const t = useT(devicesPage)
  const router = useRouter()
  const isAdmin = useCan('user.manage')
  return (
    <Menu
      label={t('add')}
      variant="primary"
      disabledReason={mayNot}
      items={ADD_KINDS.map((what) => {
        const Icon = ICON[what]
        const list = LIST_OF[what]
        const max = LIMITS[list]
        return {
          id: what,
          label: t(`addKind.${what}`),
          icon: <Icon size={15} />,
          disabledReason:
            (what === 'share' || what === 'host') && !isAdmin
              ? t('adminOnly')
              : vm.spec[list].length >= max
                ? t('listFull', { max })
                : null,
          onSelect: () => router.push(editorOf(vm, { kind: 'add', what }), { scroll: false }),
        }
      })}
    >
      <Plus size={16} aria-hidden="true" />
      {t('add')}
    </Menu>
  )
}
