'use client'
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { useDeferredValue, useEffect, useMemo, useState } from 'react'
import type { SpecForm } from '#components/vm/fields/form.ts'
import { type FieldProblem, problemsOf } from '#components/vm/problems.ts'
import { draftProblems, fromSpec, type SpecDraft, type SpecPatch, toPatch } from '#components/vm/spec-draft.ts'
import { type ApiError, toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { spec as specMessages } from '#lib/i18n/messages/en/spec.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { DEVICE_LISTS } from '#lib/vm/live-places.ts'
import type { DeviceList } from '#lib/vm/live-types.ts'

/** Time without a change before the plan is asked for. */
const SETTLE_MS = 200

/** What the reader began from; a newer stored definition does not overwrite what is being typed. */
interface Base {
  readonly revision: number
  readonly spec: VmSpec
}

/**
 * One change of a VM while it is made: draft, patch, the server's plan for it, and the two ways to apply it.
 * @param begin what the change starts as, from the stored definition: the same, a device more, a device less
 * @param options.isNew begins with a form that was not filled in yet, which is no mistake
 */
export function useDeviceForm(
  vm: Vm,
  begin: (stored: SpecDraft, spec: VmSpec) => SpecDraft,
  { isNew = false }: { readonly isNew?: boolean } = {},
) {
  const words = useT(specMessages)
  const client = useQueryClient()
  const [base, setBase] = useState<Base>(vm)
  const [draft, setDraft] = useState<SpecDraft>(() => begin(fromSpec(vm.spec), vm.spec))
  const [isTouched, setTouched] = useState(false)
  const [failure, setFailure] = useState<ApiError | null>(null)
  const update = useOperation('vmUpdate')
  const patch = useMemo(() => toPatch(draft, base.spec), [draft, base.spec])
  const isChanged = Object.keys(patch).length > 0
  const local = useMemo(() => draftProblems(draft), [draft])
  const settled = useSettled(patch, SETTLE_MS)
  const preview = useQuery({
    ...queries.vmChangePreview(vm.id, base.revision, settled),
    enabled: vm.actions.change?.allowed !== false && Object.keys(settled).length > 0 && local.length === 0,
    placeholderData: keepPreviousData,
  })
  // A refused draft keeps the last possible plan, with the defaults it found for new devices.
  const [plan, setPlan] = useState<NonNullable<typeof preview.data> | null>(null)
  if (preview.data !== undefined && preview.data !== plan) setPlan(preview.data)
  const effective = useMemo(() => withNew(base.spec, plan?.spec ?? null), [base.spec, plan])

  const load = (from: Base) => {
    setBase({ revision: from.revision, spec: from.spec })
    setDraft(begin(fromSpec(from.spec), from.spec))
    setTouched(false)
    setFailure(null)
  }
  // Somebody else's change comes in as long as there is nothing of the reader's own to lose.
  if (vm.revision !== base.revision && !isTouched && !update.isPending) load(vm)

  const isSettled = settled === patch
  const said = isSettled && preview.error ? problemsOf(toApiError(preview.error)) : []
  // A field of the new device itself, `shares.0.source`: nobody has been there yet. Want of a place is told at once.
  const isIncomplete =
    isNew && !isTouched && said.some(({ field }) => field.split('.').length > 2 && !/\.(rootPort|port)$/.test(field))
  const remote = isIncomplete ? [] : said
  const refused = failure === null ? [] : problemsOf(failure)
  const faults: readonly FieldProblem[] =
    local.length > 0 ? local.map(({ field, kind }) => ({ field, message: words(`problem.${kind}`) })) : remote
  const problems = faults.length > 0 ? faults : refused.filter((problem) => problem.field !== '')
  const change = (next: (before: SpecDraft) => SpecDraft) => {
    setTouched(true)
    setFailure(null)
    setDraft(next)
  }
  const form: SpecForm = {
    mode: 'change',
    draft,
    effective,
    counted: vm.live === undefined ? null : { cpus: vm.live.vcpus, memoryMiB: vm.live.memoryMiB },
    errorOf: (field) => problems.find((problem) => problem.field === field)?.message,
    update: change,
    setScalar: (key, value) =>
      change((before) => ({
        ...before,
        scalars: { ...before.scalars, [key]: value ?? (value === null ? null : base.spec[key]) },
      })),
  }
  return {
    form,
    base,
    patch: patch as SpecPatch,
    /** Whether there is something to apply. */
    isChanged,
    /** Whether the reader typed something that would be lost. */
    isTouched: isTouched && isChanged,
    /** At fields, from the plan or from the last attempt. */
    problems,
    /** The draft itself cannot be; a refused attempt may be made again, or for the next start. */
    isFaulty: faults.length > 0,
    failure,
    plan: isChanged ? plan : null,
    /** A new device waits for what it cannot be without. */
    isIncomplete,
    /** The plan is the one for what is entered. */
    isCurrent:
      isSettled && preview.data !== undefined && !preview.isPlaceholderData && !preview.error && faults.length === 0,
    isChecking: isChanged && (!isSettled || preview.isFetching),
    isStale: vm.revision !== base.revision,
    isSaving: update.isPending,
    reload: () => load(vm),
    /** Resolves to the VM as it is then; null when it was refused, which `failure` and the fields tell. */
    apply: async (when: 'now' | 'next-start'): Promise<Vm | null> => {
      setFailure(null)
      try {
        const saved = await update.mutateAsync({
          input: { params: { id: vm.id }, query: { apply: when }, body: patch },
          ifMatch: base.revision,
        })
        putVm(client, saved)
        load(saved)
        return saved
      } catch (cause) {
        setFailure(toApiError(cause))
        return null
      }
    },
  }
}

export type DeviceForm = ReturnType<typeof useDeviceForm>

/**
 * The stored definition with the new devices of a plan, in the plan's order: what forms compare with. Stored devices
 * stay as they are stored, or a field set back would look like no change.
 */
function withNew(stored: VmSpec, planned: VmSpec | null): VmSpec {
  if (planned === null) return stored
  const merge = (list: DeviceList) => {
    const known = new Map(stored[list].map((device): [string, unknown] => [device.id, device]))
    return planned[list].map((device) => known.get(device.id) ?? device)
  }
  // Each list keeps the type of its own elements.
  return { ...stored, ...(Object.fromEntries(DEVICE_LISTS.map((list) => [list, merge(list)])) as Partial<VmSpec>) }
}

/** `value` once it has not changed for `ms`. */
function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return useDeferredValue(settled)
}
