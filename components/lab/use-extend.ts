'use client'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { formatAbsolute } from '#lib/i18n/format.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'

/** Extends a lease by one click, and tells the new end. */
export function useExtend(vm: { readonly id: string; readonly name: string }) {
  const t = useT(messages)
  const locale = useLocale()
  const { mutate, isPending } = useOperation('vmLeaseExtend', {
    onSuccess: ({ lab }) => {
      const endsAt = lab.lease?.endsAt ?? null
      showToast({
        kind: 'done',
        title:
          endsAt === null
            ? t('lease.unlimited', { name: vm.name })
            : t('lease.extended', { name: vm.name, date: formatAbsolute(endsAt, locale) }),
      })
    },
    onError: (cause) => toastError(cause, t('lease.failed', { name: vm.name })),
  })
  return { extend: () => mutate({ input: { params: { id: vm.id } } }), isPending }
}
