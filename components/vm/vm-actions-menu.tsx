'use client'
import {
  Copy,
  Ellipsis,
  FolderInput,
  Layers,
  Monitor,
  Pause,
  Play,
  Power,
  PowerOff,
  RotateCcw,
  Share2,
  Trash2,
} from 'lucide-react'
import dynamic from 'next/dynamic'
import { useRouter } from 'next/navigation'
import { type ReactNode, useState } from 'react'
import { useMayNotVm } from '#components/access/use-may-vm.ts'
import { Button, type ButtonSize, IconButton } from '#components/ui/button.tsx'
import { Menu, type MenuItem } from '#components/ui/menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { access } from '#lib/i18n/messages/en/access.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { clones } from '#lib/i18n/messages/en/clones.ts'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'
import { paths } from '#lib/paths.ts'
import type { PowerAction, Vm } from '#lib/schema/vm-state.ts'
import { primaryAction } from '#lib/vm/primary-action.ts'
import { useDeleteVm } from './use-delete-vm.ts'
import { useTemplate } from './use-template.ts'
import { useVmActions } from './use-vm-actions.ts'

const CloneDialog = dynamic(() => import('./clone-dialog.tsx').then((m) => m.CloneDialog), { ssr: false })

const ShareDialog = dynamic(() => import('#components/access/share-dialog.tsx').then((m) => m.ShareDialog), {
  ssr: false,
})
const MoveDialog = dynamic(() => import('#components/access/move-dialog.tsx').then((m) => m.MoveDialog), { ssr: false })

const ICON: Record<PowerAction, ReactNode> = {
  start: <Play size={14} aria-hidden="true" />,
  shutdown: <Power size={14} aria-hidden="true" />,
  poweroff: <PowerOff size={14} aria-hidden="true" />,
  reset: <RotateCcw size={14} aria-hidden="true" />,
  pause: <Pause size={14} aria-hidden="true" />,
  resume: <Play size={14} aria-hidden="true" />,
}
const ACTIONS: readonly PowerAction[] = ['start', 'shutdown', 'pause', 'resume', 'reset', 'poweroff']

/** The button for what a person most likely wants with this VM now. */
export function VmPrimaryAction({ vm, size = 'md' }: { readonly vm: Vm; readonly size?: ButtonSize }) {
  const t = useT(app)
  const act = useVmActions()
  const action = primaryAction(vm)
  return (
    <Button
      variant={action === 'start' || action === 'resume' ? 'primary' : 'plain'}
      size={size}
      icon={ICON[action]}
      disabledReason={vm.actions[action]?.reason}
      onClick={() => act(vm, action)}
    >
      {t(`power.${action}`)}
    </Button>
  )
}

interface MenuProps {
  readonly vm: Vm
  readonly size?: ButtonSize
  readonly onDeleted?: () => void
}

/**
 * Everything else; what is impossible now says why. Until the first press this is only a button: a list scrolls past
 * a thousand of them.
 */
export function VmActionsMenu(props: MenuProps) {
  const t = useT(messages)
  const [used, setUsed] = useState(false)
  if (used) return <OpenedMenu {...props} />
  return (
    <IconButton
      size={props.size ?? 'md'}
      label={t('more', { name: props.vm.name })}
      aria-haspopup="menu"
      aria-expanded={false}
      onClick={() => setUsed(true)}
      onKeyDown={(event) => {
        if (event.key !== 'ArrowDown') return
        event.preventDefault()
        event.stopPropagation()
        setUsed(true)
      }}
    >
      <Ellipsis size={16} aria-hidden="true" />
    </IconButton>
  )
}

function OpenedMenu({ vm, size = 'md', onDeleted }: MenuProps) {
  const t = useT(app)
  const tVm = useT(messages)
  const router = useRouter()
  const act = useVmActions()
  const remove = useDeleteVm()
  const tClones = useT(clones)
  const template = useTemplate()
  const mayNotClone = useMayNotVm(vm, 'vm.create')
  const [dialog, setDialog] = useState<'clone' | 'share' | 'move' | null>(null)
  const tAccess = useT(access)
  const mayNotShare = useMayNotVm(vm, 'share.manage') === null ? null : tAccess('share.mayNot')
  const shared = { kind: 'vm', id: vm.id, name: vm.name } as const
  const items: MenuItem[] = [
    {
      id: 'console',
      label: tVm('openConsole'),
      icon: <Monitor size={14} />,
      onSelect: () => router.push(paths.vmConsole(vm.id)),
      disabledReason: vm.actions.console?.reason,
    },
    { kind: 'separator', id: 's1' },
    ...ACTIONS.map((action) => ({
      id: action,
      label: t(`power.${action}`),
      icon: ICON[action],
      onSelect: () => act(vm, action),
      disabledReason: vm.actions[action]?.reason,
      danger: action === 'poweroff' || action === 'reset',
    })),
    { kind: 'separator', id: 's2' },
    {
      id: 'clone',
      label: tClones(vm.template === undefined ? 'action' : 'newFromTemplate'),
      icon: <Copy size={14} />,
      onSelect: () => setDialog('clone'),
      disabledReason: mayNotClone,
    },
    {
      id: 'template',
      label: tClones(vm.template === undefined ? 'makeTemplate' : 'makeVm'),
      icon: <Layers size={14} />,
      onSelect: () => template(vm),
      disabledReason: vm.actions.change?.reason ?? vm.actions.delete?.reason,
    },
    { kind: 'separator', id: 's3' },
    {
      id: 'share',
      label: tAccess('share.actionMore'),
      icon: <Share2 size={14} />,
      onSelect: () => setDialog('share'),
      disabledReason: mayNotShare,
    },
    {
      id: 'move',
      label: tAccess('move.action'),
      icon: <FolderInput size={14} />,
      onSelect: () => setDialog('move'),
      disabledReason: mayNotShare,
    },
    { kind: 'separator', id: 's4' },
    {
      id: 'delete',
      label: tVm('remove'),
      icon: <Trash2 size={14} />,
      danger: true,
      onSelect: () => remove(vm, onDeleted),
      disabledReason: vm.actions.delete?.reason,
    },
  ]
  return (
    <>
      <Menu label={tVm('more', { name: vm.name })} items={items} size={size} iconOnly defaultOpen>
        <Ellipsis size={16} aria-hidden="true" />
      </Menu>
      {dialog === 'clone' && <CloneDialog vm={vm} onClose={() => setDialog(null)} />}
      {dialog === 'share' && <ShareDialog of={shared} onClose={() => setDialog(null)} />}
      {dialog === 'move' && <MoveDialog of={shared} onClose={() => setDialog(null)} />}
    </>
  )
}
