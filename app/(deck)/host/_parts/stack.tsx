'use client'
import { Link } from '#components/nav/link.tsx'
import { cx } from '#components/ui/cx.ts'
import { type Mark, MarkIcon } from '#components/ui/state-mark.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { host as messages } from '#lib/i18n/messages/en/host.ts'
import { paths } from '#lib/paths.ts'
import type { Host, StackLayer } from '#lib/schema/host.ts'

const MARK: Record<StackLayer['state'], Mark> = {
  ok: 'running',
  warning: 'attention',
  failed: 'crashed',
  unknown: 'off',
}
const WORD: Record<StackLayer['state'], string> = {
  ok: 'text-running',
  warning: 'text-attention',
  failed: 'text-crashed',
  unknown: 'text-off',
}

/** From what people see at the top down to the processor: each layer rests on the one beneath. */
const TOP_DOWN: readonly StackLayer['id'][] = ['guestdeck', 'virtio', 'qemu', 'kvm', 'hardware']

export function Stack({ host }: { readonly host: Host }) {
  const t = useT(messages)
  const layers = TOP_DOWN.map((id) => host.stack.find((layer) => layer.id === id)).filter(
    (layer) => layer !== undefined,
  )
  return (
    <ol className="flex flex-col">
      <li className="mx-6 flex items-baseline justify-between gap-3 rounded-t-md border border-line border-b-0 border-dashed px-3 py-2 text-dim">
        <span>{t('stack.guests')}</span>
        <Link href={paths.vms()} className="figures text-sm">
          {t('stack.guestsValue', { running: host.counts.running, count: host.counts.vms })}
        </Link>
      </li>
      {layers.map((layer, index) => (
        <li
          key={layer.id}
          className={cx(
            'grid grid-cols-[0.75rem_minmax(0,1fr)] gap-x-3 border border-line px-3 py-2.5',
            index > 0 && 'border-t-0',
            index === 0 && 'rounded-t-md',
            index === layers.length - 1 && 'rounded-b-md',
            layer.state === 'failed'
              ? 'bg-crashed-tint'
              : layer.state === 'warning'
                ? 'bg-attention-tint'
                : 'bg-surface',
          )}
        >
          <span className="mt-1">
            <MarkIcon mark={MARK[layer.state]} />
          </span>
          <div className="min-w-0">
            <p className="flex flex-wrap items-baseline gap-x-2">
              <span className="font-semibold">{layer.title}</span>
              {layer.version && <span className="figures font-mono text-dim text-sm">{layer.version}</span>}
              <span className={cx('ms-auto text-sm', WORD[layer.state])}>
                {t(
                  layer.id === 'kvm' && layer.state === 'warning' && host.accelerator.kvm !== 'usable'
                    ? 'stack.kvmUnused'
                    : `stack.state.${layer.state}`,
                )}
              </span>
            </p>
            {layer.detail && <p className="break-words">{layer.detail}</p>}
            <p className="text-dim text-sm">{layer.explains}</p>
          </div>
        </li>
      ))}
    </ol>
  )
}
