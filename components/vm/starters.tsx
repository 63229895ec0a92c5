'use client'
import { useQuery } from '@tanstack/react-query'
import { ButtonLink } from '#components/nav/link.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { CopyButton } from '#components/ui/copy-button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { toastError } from '#lib/client/toasts.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import { paths } from '#lib/paths.ts'
import type { Starter } from '#lib/schema/image.ts'

/** Bootable things at hand: add to the library, or make a VM from what is there. */
export function StarterList() {
  const { data, error, refetch } = useQuery(queries.starterList())
  if (error && !data) return <LoadError error={error} onRetry={() => void refetch()} />
  return (
    <ul className="grid gap-x-8 md:grid-cols-2">
      {data
        ? data.items.map((starter) => <StarterLine key={starter.id} starter={starter} />)
        : [0, 1, 2, 3].map((line) => (
            <li key={line} className="flex h-14 items-center border-line border-b">
              <Skeleton className="h-4 w-2/3" />
            </li>
          ))}
    </ul>
  )
}

function StarterLine({ starter }: { readonly starter: Starter }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const canAdd = useCan('image.add')
  const canCreate = useCan('vm.create')
  const add = useOperation('starterAdd', {
    onError: (error) => toastError(error, t('starters.failed', { name: starter.name })),
  })
  return (
    <li className="flex flex-wrap items-center gap-x-3 gap-y-1 border-line border-b py-2.5">
      <div className="min-w-0 flex-1 basis-52">
        <p className="font-medium">
          {starter.name}
          {starter.sizeBytes !== null && (
            <span className="figures ms-2 font-normal text-faint text-sm">
              {formatBytes(starter.sizeBytes, locale)}
            </span>
          )}
        </p>
        <p className="text-dim text-sm">
          {starter.available ? starter.purpose : `${starter.purpose} ${starter.detail}`}
        </p>
        {!starter.available && starter.installCommand && (
          <p className="flex items-center gap-1 text-sm">
            <span className="sr-only">{t('starters.install')}</span>
            <code className="min-w-0 break-all font-mono text-dim text-xs">{starter.installCommand}</code>
            <CopyButton
              text={starter.installCommand}
              label={t('starters.copy', { name: starter.name })}
              copiedLabel={tApp('copied')}
            />
          </p>
        )}
      </div>
      {starter.image ? (
        canCreate && (
          <ButtonLink
            size="sm"
            href={`${paths.vmNew()}?image=${starter.image}`}
            aria-label={t('starters.bootNamed', { name: starter.name })}
          >
            {t('starters.boot')}
          </ButtonLink>
        )
      ) : (
        <Button
          size="sm"
          aria-label={t('starters.addNamed', { name: starter.name })}
          pending={add.isPending}
          disabledReason={canAdd ? (starter.available ? null : starter.detail) : tApp('notAllowed')}
          onClick={() => add.mutate({ input: { params: { id: starter.id } } })}
        >
          {t('starters.add')}
        </Button>
      )}
    </li>
  )
}
