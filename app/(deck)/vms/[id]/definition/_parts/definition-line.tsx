'use client'
import { useQuery } from '@tanstack/react-query'
import { usePathname, useRouter, useSearchParams } from 'next/navigation'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { CommandLineView } from '#components/vm/command-line.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { definition } from '#lib/i18n/messages/en/definition.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** The command line of the next start or of what runs; which one is in the address. */
export function DefinitionLine({
  vm,
  isUnsaved,
  onField,
}: {
  readonly vm: Vm
  readonly isUnsaved: boolean
  readonly onField: ((pointer: string) => void) | undefined
}) {
  const t = useT(definition)
  const router = useRouter()
  const here = usePathname()
  const isOff = vm.state === 'off' || vm.state === 'crashed'
  const of = useSearchParams().get('of') === 'running' && !isOff ? 'running' : 'next'
  const { queryKey, queryFn } = queries.vmCommandLine(vm.id, of)
  const line = useQuery({
    // A new revision or a new process has another command line.
    queryKey: [...queryKey, vm.revision, vm.live?.pid ?? 0],
    ...(queryFn === undefined ? {} : { queryFn }),
    placeholderData: (before) => before,
  })
  const choose = (next: 'next' | 'running') =>
    router.replace(next === 'next' ? here : `${here}?of=running`, { scroll: false })
  return (
    <Section
      title={t('line')}
      note={isUnsaved ? t('unsaved') : null}
      actions={
        // biome-ignore lint/a11y/useSemanticElements: two buttons that choose a view are no form control
        <div role="group" aria-label={t('which')} className="flex gap-1">
          {(['next', 'running'] as const).map((choice) => (
            <Button
              key={choice}
              size="sm"
              aria-pressed={of === choice}
              className="aria-pressed:border-accent aria-pressed:bg-selected"
              disabledReason={choice === 'running' && isOff ? t('runningOff') : null}
              onClick={() => choose(choice)}
            >
              {t(choice)}
            </Button>
          ))}
        </div>
      }
    >
      <p className="max-w-prose text-dim">
        {t(of === 'running' ? 'lineNote.running' : isOff ? 'lineNote.nextOff' : 'lineNote.next')}
      </p>
      {line.data ? (
        <CommandLineView line={line.data} {...(onField ? { onField } : {})} />
      ) : line.error ? (
        <LoadError error={line.error} onRetry={() => void line.refetch()} />
      ) : (
        <div className="flex flex-col gap-2" aria-busy="true">
          <Skeleton className="h-14 w-full" />
          <Skeleton className="h-14 w-full" />
          <Skeleton className="h-14 w-full" />
        </div>
      )}
    </Section>
  )
}
