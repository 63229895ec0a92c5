'use client'
import { Keyboard } from 'lucide-react'
import { Menu, type MenuItem } from '#components/ui/menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { consoleMessages } from '#lib/i18n/messages/en/console.ts'

/** What browsers or the reader's own system keep for themselves. Labels are what stands on the keys. */
const COMBOS: readonly (readonly [label: string, codes: readonly string[]])[] = [
  ['Ctrl+Alt+Del', ['ControlLeft', 'AltLeft', 'Delete']],
  ['Ctrl+Alt+Backspace', ['ControlLeft', 'AltLeft', 'Backspace']],
  ['Alt+Tab', ['AltLeft', 'Tab']],
  ['Alt+F4', ['AltLeft', 'F4']],
  ['Super', ['MetaLeft']],
  ['Super+L', ['MetaLeft', 'KeyL']],
  ['Menu', ['ContextMenu']],
  ['Print Screen', ['PrintScreen']],
  ['Alt+SysRq', ['AltLeft', 'PrintScreen']],
  ['Pause', ['Pause']],
  ['Ctrl+Alt+G', ['ControlLeft', 'AltLeft', 'KeyG']],
  ['Ctrl+W', ['ControlLeft', 'KeyW']],
  ['F11', ['F11']],
]
const TERMINALS = Array.from({ length: 12 }, (_, i) => `F${i + 1}`)

export function KeyMenu({
  disabledReason,
  onChord,
}: {
  readonly disabledReason: string | null
  readonly onChord: (codes: readonly string[]) => void
}) {
  const t = useT(consoleMessages)
  const items: MenuItem[] = [
    { kind: 'heading', id: 'combos', label: t('keys.combos') },
    ...COMBOS.map(([label, codes]) => ({ id: label, label, onSelect: () => onChord(codes) })),
    { kind: 'separator', id: 'line' },
    { kind: 'heading', id: 'terminals', label: t('keys.terminals') },
    ...TERMINALS.map((key) => ({
      id: `vt-${key}`,
      label: `Ctrl+Alt+${key}`,
      onSelect: () => onChord(['ControlLeft', 'AltLeft', key]),
    })),
  ]
  return (
    <Menu label={t('keys.menu')} items={items} disabledReason={disabledReason}>
      <Keyboard size={16} aria-hidden="true" />
      <span className="max-sm:sr-only">{t('keys.label')}</span>
    </Menu>
  )
}
