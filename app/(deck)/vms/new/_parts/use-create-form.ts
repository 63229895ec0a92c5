'use client'
import { keepPreviousData, queryOptions, useQuery } from '@tanstack/react-query'
import { useDeferredValue, useEffect, useMemo, useState } from 'react'
import { forPreview, type SeedDraft, toSeedInput } from '#components/seed/seed-draft.ts'
import { fromInput } from '#components/vm/draft-from-input.ts'
import { focusField, rowKey, type SpecForm } from '#components/vm/fields/form.ts'
import { type FieldProblem, pointerOf } from '#components/vm/problems.ts'
import {
  afterChange,
  draftProblems,
  driverImage,
  drivesFor,
  newCard,
  type SpecDraft,
  type SpecInput,
  suggestName,
  toInput,
  withDriverCd,
} from '#components/vm/spec-draft.ts'
import { type ApiError, call, toApiError } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { spec as specMessages } from '#lib/i18n/messages/en/spec.ts'
import type { Image } from '#lib/schema/image.ts'

import { quotaProblems } from './quota-problems.ts'
import { useHomes } from './use-homes.ts'

/** Time without a change before the plan is asked for. */
const SETTLE_MS = 200

export const previewQuery = (body: SpecInput) =>
  queryOptions({
    queryKey: ['vmPreview', body] as const,
    queryFn: async ({ signal }) => {
      try {
        return await call('vmPreview', { body }, { signal })
      } catch (cause) {
        if (signal.aborted) throw cause
        throw toApiError(cause)
      }
    },
    // A plan depends on what else exists by now.
    staleTime: 10_000,
    gcTime: 60_000,
    retry: (failures: number, error: ApiError) => failures < 2 && (error.status === 0 || error.status === 503),
  })

/** Everything the page knows; one value, handed to its sections. */
export function useCreateForm() {
  const t = useT(specMessages)
  const [draft, setDraft] = useState<SpecDraft>(() => ({
    name: '',
    scalars: {},
    drives: [],
    // A fixed address while rendering on the server; the effect below gives the real one.
    cards: [newCard('first', () => 0)],
  }))
  useEffect(() => {
    setDraft((before) => ({
      ...before,
      cards: before.cards.map((card) => (card.key === 'first' ? { ...newCard(rowKey()), ...without(card) } : card)),
    }))
  }, [])
  /** What its first start sets up; null: nothing. */
  const [seed, setSeed] = useState<SeedDraft | null>(null)
  /** Whose it is to be; empty: the reader's own. Null until chosen, here or by the address. */
  const [chosenProject, setProject] = useState<string | null>(null)
  const homes = useHomes()
  const project = chosenProject ?? homes.first
  /** Undefined: nothing chosen yet. Null: nothing to boot. */
  const [boot, setBoot] = useState<Image | null | undefined>(undefined)
  /** Name of the VM being made; while it is set the plan stays as it was, because the name is taken by that very VM. */
  const [making, setMaking] = useState<string | null>(null)
  const isPaused = making !== null
  const vms = useQuery(queries.vmList()).data?.items
  const suggestion = useMemo(
    () => suggestName(boot?.name ?? null, new Set(vms?.map((vm) => vm.name.toLowerCase()))),
    [boot, vms],
  )
  const wanted = draft.name.trim() === '' ? suggestion : draft.name.trim()
  const name = making ?? wanted
  const input = useMemo(() => ({ ...toInput(draft, name), ...(project !== '' && { project }) }), [draft, name, project])
  const body = useMemo(() => (seed === null ? input : { ...input, seed: toSeedInput(seed) }), [input, seed])
  const previewBody = useMemo(() => (seed === null ? input : { ...input, seed: forPreview(seed) }), [input, seed])
  const local = useMemo(() => draftProblems(draft), [draft])
  const settled = useSettled(previewBody, SETTLE_MS)
  const preview = useQuery({
    ...previewQuery(settled),
    enabled: local.length === 0 && !isPaused,
    placeholderData: keepPreviousData,
  })
  // A refused draft leaves the last possible plan on screen, with the fields it filled.
  const [plan, setPlan] = useState<NonNullable<typeof preview.data> | null>(null)
  if (preview.data !== undefined && preview.data !== plan) setPlan(preview.data)
  // Windows installs on virtio only with the drivers at hand.
  const guest = draft.scalars.guest ?? plan?.spec.guest
  const images = useQuery(queries.imageList()).data?.items
  const drivers = guest === 'windows' ? driverImage(images ?? []) : undefined
  const withDrivers = withDriverCd(draft, draft.noDrivers === true ? null : (drivers?.id ?? null))
  if (withDrivers !== draft && !isPaused) setDraft(withDrivers)
  const isCurrent = settled === previewBody && !preview.isPlaceholderData && !preview.isFetching
  const remote = preview.error ? quotaProblems(toApiError(preview.error)) : []
  const problems: FieldProblem[] = isPaused
    ? []
    : local.length > 0
      ? local.map(({ field, kind }) => ({ field, message: t(`problem.${kind}`) }))
      : settled === previewBody
        ? remote
        : []
  const errorOf = (field: string) => problems.find((problem) => problem.field === field)?.message
  const form: SpecForm = {
    mode: 'create',
    draft,
    effective: plan?.spec ?? null,
    counted: null,
    errorOf,
    broken: problems.map((problem) => problem.field),
    update: (change) => setDraft((before) => afterChange(before, change(before))),
    setScalar: (key, value) =>
      setDraft((before) => {
        const { [key]: _, ...rest } = before.scalars
        return { ...before, scalars: value === undefined ? rest : { ...rest, [key]: value } }
      }),
  }
  return {
    form,
    boot,
    homes,
    project,
    setProject,
    seed,
    setSeed,
    guest,
    drivers: {
      /** Of the library; undefined when it has none, or the guest wants none. */
      image: drivers,
      isWanted: draft.noDrivers !== true,
      want: (wanted: boolean) => setDraft((before) => ({ ...before, noDrivers: !wanted })),
    },
    choose: (image: Image | null) => {
      setBoot(image)
      setDraft((before) => ({ ...before, drives: drivesFor(image, before.drives) }))
    },
    /** Everything from a description that came from elsewhere. @param boot what it boots, where that is known */
    fill: (input: SpecInput, image: Image | null) => {
      setBoot(image)
      setDraft(fromInput(input, rowKey))
    },
    name,
    suggestion,
    body,
    problems,
    setPaused: (paused: boolean) => setMaking(paused ? name : null),
    /** The last plan that was possible; null before the first. */
    plan,
    /** The plan on screen is the one for what is entered. */
    isCurrent: isCurrent && problems.length === 0,
    isWorking: settled !== previewBody || preview.isFetching,
    showProblem: (problem: FieldProblem) => focusField(pointerOf(problem.field)),
  }
}

export type CreateForm = ReturnType<typeof useCreateForm>

/** The card as the reader may have changed it before the page was ready, less its placeholder address. */
function without(card: SpecDraft['cards'][number]) {
  const { key: _key, mac: _mac, ...rest } = card
  return rest
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
