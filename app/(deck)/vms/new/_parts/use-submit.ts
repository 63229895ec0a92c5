'use client'
import { useState } from 'react'
import { rememberKeys } from '#components/seed/seed-fields.tsx'
import { type ApiError, toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import { paths } from '#lib/paths.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { CreateForm } from './use-create-form.ts'

export type SubmitFailure =
  | { readonly step: 'create'; readonly error: ApiError }
  /** The VM exists; only its start failed. */
  | { readonly step: 'start'; readonly error: ApiError; readonly vm: Vm }
  | { readonly step: 'delete'; readonly error: ApiError; readonly vm: Vm }

export type SubmitState = 'idle' | 'creating' | 'starting' | 'deleting'

/** Create, then start. Whatever fails, the form stays filled. */
export function useSubmit(page: CreateForm, open: (path: string) => void) {
  const t = useT(create)
  const [state, setState] = useState<SubmitState>('idle')
  const [failure, setFailure] = useState<SubmitFailure | null>(null)
  const [note, setNote] = useState<string | null>(null)
  const { mutateAsync: createVm } = useOperation('vmCreate')
  const { mutateAsync: startVm } = useOperation('vmStart')
  const { mutateAsync: deleteVm } = useOperation('vmDelete')
  const existing = failure !== null && failure.step !== 'create' ? failure.vm : null

  const blocked =
    existing !== null
      ? t('submit.exists', { name: existing.name })
      : page.boot === undefined
        ? t('boot.missing')
        : page.problems.length > 0
          ? t('submit.mend')
          : null

  const start = async (vm: Vm) => {
    setState('starting')
    try {
      await startVm({ input: { params: { id: vm.id } } })
      open(paths.vmConsole(vm.id))
    } catch (cause) {
      setFailure({ step: 'start', error: toApiError(cause), vm })
      setState('idle')
    }
  }

  const run = async (thenStart: boolean) => {
    if (blocked !== null || state !== 'idle') return
    setState('creating')
    page.setPaused(true)
    setFailure(null)
    setNote(null)
    let vm: Vm
    try {
      vm = await createVm({ input: { body: page.body } })
      if (page.seed !== null) rememberKeys(page.seed)
    } catch (cause) {
      page.setPaused(false)
      setFailure({ step: 'create', error: toApiError(cause) })
      setState('idle')
      return
    }
    if (thenStart) await start(vm)
    else open(paths.vm(vm.id))
  }

  return {
    state,
    failure,
    note,
    blocked,
    run: (thenStart: boolean) => void run(thenStart),
    startAgain: (vm: Vm) => void start(vm),
    deleteAndEdit: async (vm: Vm) => {
      setState('deleting')
      try {
        await deleteVm({ input: { params: { id: vm.id } } })
        page.setPaused(false)
        setFailure(null)
        setNote(t('failed.deleted', { name: vm.name }))
      } catch (cause) {
        setFailure({ step: 'delete', error: toApiError(cause), vm })
      }
      setState('idle')
    },
  }
}

export type Submit = ReturnType<typeof useSubmit>
