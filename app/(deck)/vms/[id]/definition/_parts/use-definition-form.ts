'use client'
import { useQueryClient } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import type { SpecForm } from '#components/vm/fields/form.ts'
import { draftProblems, fromSpec, type SpecDraft, toPatch } from '#components/vm/spec-draft.ts'
import type { ApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation } from '#lib/client/mutations.ts'
import { definition } from '#lib/i18n/messages/en/definition.ts'
import { spec as specMessages } from '#lib/i18n/messages/en/spec.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** What the reader began from; a newer stored definition does not overwrite what is being typed. */
interface Base {
  readonly revision: number
  readonly spec: VmSpec
}

/** Edits the stored definition; sends only what differs, with the revision it began from. */
export function useDefinitionForm(vm: Vm) {
  const t = useT(definition)
  const words = useT(specMessages)
  const client = useQueryClient()
  const [base, setBase] = useState<Base>(vm)
  const [draft, setDraft] = useState<SpecDraft>(() => fromSpec(vm.spec))
  const [failure, setFailure] = useState<ApiError | null>(null)
  const [note, setNote] = useState<string | null>(null)
  const update = useOperation('vmUpdate')
  const patch = useMemo(() => toPatch(draft, base.spec), [draft, base.spec])
  const changed = Object.keys(patch)
  const load = (from: Base) => {
    setBase({ revision: from.revision, spec: from.spec })
    setDraft(fromSpec(from.spec))
    setFailure(null)
  }
  // Somebody else's change comes in as long as there is nothing of the reader's own to lose.
  if (vm.revision !== base.revision && changed.length === 0 && !update.isPending) load(vm)

  const local = draftProblems(draft)
  const change = (next: SpecDraft | ((before: SpecDraft) => SpecDraft)) => {
    setNote(null)
    setDraft(next)
  }
  const form: SpecForm = {
    mode: 'change',
    draft,
    effective: base.spec,
    counted: vm.live === undefined ? null : { cpus: vm.live.vcpus, memoryMiB: vm.live.memoryMiB },
    errorOf: (field) => {
      const problem = local.find((candidate) => candidate.field === field)
      if (problem) return words(`problem.${problem.kind}`)
      return failure?.field === field ? failure.message : undefined
    },
    update: change,
    setScalar: (key, value) =>
      change((before) => ({
        ...before,
        scalars: { ...before.scalars, [key]: value ?? (value === null ? null : base.spec[key]) },
      })),
  }
  return {
    form,
    changed,
    problems: local,
    failure,
    note,
    isStale: vm.revision !== base.revision,
    isSaving: update.isPending,
    /** Disks of the stored definition that the draft no longer has. */
    removedDisks: base.spec.disks.flatMap((drive) =>
      drive.device === 'disk' && !draft.drives.some((row) => row.id === drive.id) ? [drive] : [],
    ),
    discard: () => {
      load(vm)
      setNote(null)
    },
    save: async () => {
      setFailure(null)
      try {
        const saved = await update.mutateAsync({
          input: { params: { id: vm.id }, body: patch },
          ifMatch: base.revision,
        })
        putVm(client, saved)
        load(saved)
        setNote(t(saved.pending.length > 0 ? 'savedPending' : 'saved'))
      } catch (error) {
        // useOperation throws nothing but ApiError.
        setFailure(error as ApiError)
      }
    },
  }
}

export type DefinitionForm = ReturnType<typeof useDefinitionForm>
