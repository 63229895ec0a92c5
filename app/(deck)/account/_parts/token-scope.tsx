'use client'
import { useQuery } from '@tanstack/react-query'
import { Checkbox } from '#components/ui/choice.tsx'
import { Select } from '#components/ui/field.tsx'
import type { Privilege } from '#lib/auth/privileges.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { account as messages } from '#lib/i18n/messages/en/account.ts'
import type { VmId } from '#lib/schema/ids.ts'
import type { TokenScope } from '#lib/schema/token.ts'

const READING: readonly Privilege[] = ['vm.view', 'vm.console.view', 'image.view', 'host.view']

export interface ScopeDraft {
  readonly kind: 'everything' | 'reading' | 'chosen'
  readonly privileges: readonly Privilege[]
  /** Null: all. */
  readonly vmIds: readonly VmId[] | null
}
export const EVERYTHING: ScopeDraft = { kind: 'everything', privileges: ['vm.view'], vmIds: null }

const privilegesOf = ({ kind, privileges }: ScopeDraft) => (kind === 'reading' ? READING : privileges)

export const isComplete = (draft: ScopeDraft): boolean =>
  draft.kind === 'everything' || (privilegesOf(draft).length > 0 && draft.vmIds?.length !== 0)

/** What to send. */
export function scopeOf(draft: ScopeDraft): { scope?: TokenScope } {
  if (draft.kind === 'everything') return {}
  return { scope: { privileges: [...privilegesOf(draft)], vmIds: draft.vmIds && [...draft.vmIds] } }
}

/** Message key of a privilege: dots would be paths. */
const wordOf = (privilege: Privilege) =>
  `privilege.${privilege.replaceAll('.', '_')}` as `privilege.${'vm_view' | 'host_view'}`

function toggled<T>(list: readonly T[], item: T): T[] {
  return list.includes(item) ? list.filter((other) => other !== item) : [...list, item]
}

/** What a token is limited to; wraps below the fields beside it. */
export function TokenScopeFields({
  value,
  onValue,
}: {
  readonly value: ScopeDraft
  readonly onValue: (next: ScopeDraft) => void
}) {
  const t = useT(messages)
  const { data: session } = useQuery(queries.session())
  const { data: vms } = useQuery(queries.vmList())
  const mine = (session?.privileges ?? []) as Privilege[]
  return (
    <>
      <Select
        className="w-52"
        label={t('tokens.scope')}
        value={value.kind}
        onChange={(event) => onValue({ ...value, kind: event.target.value as ScopeDraft['kind'] })}
        options={[
          { value: 'everything', label: t('tokens.everything') },
          { value: 'reading', label: t('tokens.reading') },
          { value: 'chosen', label: t('tokens.chosen') },
        ]}
      />
      {value.kind === 'chosen' && (
        <fieldset className="order-last w-full rounded-md border border-line px-3 pb-3">
          <legend className="px-1 font-medium text-dim text-sm">{t('tokens.privileges')}</legend>
          <div className="grid gap-x-4 gap-y-1.5 sm:grid-cols-2 xl:grid-cols-3">
            {mine.map((privilege) => (
              <Checkbox
                key={privilege}
                label={t(wordOf(privilege))}
                checked={value.privileges.includes(privilege)}
                onChange={() => onValue({ ...value, privileges: toggled(value.privileges, privilege) })}
              />
            ))}
          </div>
        </fieldset>
      )}
      {value.kind !== 'everything' && (
        <fieldset className="order-last w-full rounded-md border border-line px-3 pb-3">
          <legend className="px-1 font-medium text-dim text-sm">{t('tokens.vms')}</legend>
          <div className="flex flex-col gap-2">
            <Select
              className="w-44"
              label={t('tokens.vms')}
              hideLabel
              value={value.vmIds === null ? 'all' : 'some'}
              onChange={(event) => onValue({ ...value, vmIds: event.target.value === 'all' ? null : [] })}
              options={[
                { value: 'all', label: t('tokens.allVms') },
                { value: 'some', label: t('tokens.someVms') },
              ]}
            />
            {value.vmIds !== null && (
              <div className="grid max-h-48 gap-x-4 gap-y-1.5 overflow-y-auto sm:grid-cols-2 xl:grid-cols-3">
                {vms?.items.length === 0 && <p className="text-faint">{t('tokens.noVms')}</p>}
                {vms?.items.map((vm) => (
                  <Checkbox
                    key={vm.id}
                    label={vm.name}
                    checked={value.vmIds?.includes(vm.id) ?? false}
                    onChange={() => onValue({ ...value, vmIds: toggled(value.vmIds ?? [], vm.id) })}
                  />
                ))}
              </div>
            )}
          </div>
        </fieldset>
      )}
    </>
  )
}

/** What a token may, in a few words. */
export function TokenReach({ scope }: { readonly scope: TokenScope | null }) {
  const t = useT(messages)
  if (scope === null) return <span className="block text-faint text-sm">{t('tokens.everything')}</span>
  return (
    <span className="block break-words text-faint text-sm">
      {scope.privileges.map((privilege) => t(wordOf(privilege))).join(', ')}
      {scope.vmIds && ` · ${t('tokens.onVms', { count: scope.vmIds.length })}`}
    </span>
  )
}
