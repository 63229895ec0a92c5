'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { SaveDialog } from '#components/nav/save-dialog.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast } from '#lib/client/toasts.ts'
import { networks as messages } from '#lib/i18n/messages/en/networks.ts'
import type { Network } from '#lib/schema/network.ts'
import { BridgeName } from '#lib/schema/vm-spec/networks.ts'

/** A new network, or one that exists. */
export function NetworkDialog({
  network,
  onClose,
}: {
  readonly network: Network | null
  readonly onClose: () => void
}) {
  const t = useT(messages)
  const client = useQueryClient()
  const projects = useQuery(queries.projectList()).data?.items
  const bridges = (useQuery(queries.hostDevices()).data?.interfaces ?? []).filter(({ kind }) => kind === 'bridge')
  const [name, setName] = useState(network?.name ?? '')
  const [description, setDescription] = useState(network?.description ?? '')
  const [bridge, setBridge] = useState<string>(network?.bridge ?? '')
  const [everybody, setEverybody] = useState(network?.everybody ?? false)
  const [projectIds, setProjects] = useState(network?.projects.map(({ id }) => id) ?? [])
  const [isTried, setTried] = useState(false)
  const done = (key: 'created' | 'saved') => ({
    onSuccess: (saved: Network) => {
      showToast({ kind: 'done', title: t(key, { name: saved.name }) })
      onClose()
    },
  })
  const create = useOperation('networkCreate', done('created'))
  const update = useOperation('networkUpdate', {
    ...done('saved'),
    onError: ({ code }) => {
      if (code === 'stale_revision') void client.invalidateQueries({ queryKey: queries.networkList().queryKey })
    },
  })
  const isPending = create.isPending || update.isPending
  const error = create.error ?? update.error
  const field = error?.code === 'name_taken' ? 'name' : error?.field
  const isBridge = BridgeName.safeParse(bridge.trim()).success
  return (
    <SaveDialog
      title={network === null ? t('formTitle') : t('editTitle', { name: network.name })}
      isPending={isPending}
      error={error && field !== 'name' && field !== 'bridge' ? error : null}
      onClose={onClose}
      onSubmit={() => {
        setTried(true)
        const body = { name: name.trim(), description, bridge: bridge.trim(), everybody, projectIds }
        if (body.name === '' || !isBridge) return
        if (network === null) create.mutate({ input: { body } })
        else update.mutate({ input: { params: { id: network.id }, body }, ifMatch: network.revision })
      }}
    >
      <TextField
        label={t('name')}
        required
        maxLength={64}
        value={name}
        onChange={(event) => setName(event.target.value)}
        error={isTried && name.trim() === '' ? t('needName') : field === 'name' ? error?.message : undefined}
      />
      <TextField
        label={t('bridge')}
        hint={t('bridgeHint')}
        required
        mono
        spellCheck={false}
        maxLength={15}
        list="bridges-of-host"
        value={bridge}
        onChange={(event) => setBridge(event.target.value)}
        error={isTried && !isBridge ? t('needBridge') : field === 'bridge' ? error?.message : undefined}
      />
      <datalist id="bridges-of-host">
        {bridges.map((entry) => (
          <option key={entry.name} value={entry.name} />
        ))}
      </datalist>
      <TextArea
        label={t('description')}
        rows={2}
        maxLength={2000}
        value={description}
        onChange={(event) => setDescription(event.target.value)}
      />
      <fieldset className="min-w-0 rounded-md border border-line px-3 pb-3">
        <legend className="px-1 font-medium text-dim text-sm">{t('who')}</legend>
        <div className="flex flex-col gap-2">
          <Checkbox
            label={t('forEverybody')}
            checked={everybody}
            onChange={(event) => setEverybody(event.target.checked)}
          />
          {!everybody && projects?.length === 0 && <p className="text-faint text-sm">{t('noProjects')}</p>}
          {!everybody && (
            <div className="grid max-h-56 gap-x-4 gap-y-1.5 overflow-y-auto sm:grid-cols-2">
              {projects?.map((project) => (
                <Checkbox
                  key={project.id}
                  label={project.name}
                  checked={projectIds.includes(project.id)}
                  onChange={(event) =>
                    setProjects(
                      event.target.checked
                        ? [...projectIds, project.id]
                        : projectIds.filter((known) => known !== project.id),
                    )
                  }
                />
              ))}
            </div>
          )}
        </div>
      </fieldset>
    </SaveDialog>
  )
}
