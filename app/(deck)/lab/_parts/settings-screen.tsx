'use client'
import { useQuery } from '@tanstack/react-query'
import { X } from 'lucide-react'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { NumberField, Select, TextField } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { showToast } from '#lib/client/toasts.ts'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import type { LabPolicyView } from '#lib/schema/lab.ts'
import { choicesOf, keyOf } from './device-name.ts'
import { LabFrame } from './lab-frame.tsx'

const DEFAULT_HOURS = 168
const MAX_HOURS = 720

export function SettingsScreen() {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.labPolicy())
  return (
    <LabFrame intro={t('settings.readOnly')}>
      {error && data === undefined && <LoadError error={error} onRetry={() => void refetch()} />}
      {data === undefined && !error && <Skeleton className="h-64 w-full" />}
      {/* A newer revision fills the form anew: what was typed against an old one could not be saved. */}
      {data !== undefined && <SettingsForm key={data.revision} view={data} />}
    </LabFrame>
  )
}

function SettingsForm({ view }: { readonly view: LabPolicyView }) {
  const t = useT(messages)
  const may = useCan('lab.manage')
  const [lease, setLease] = useState(view.policy.lease)
  const [idle, setIdle] = useState(view.policy.idle)
  const [devices, setDevices] = useState(view.policy.devices)
  const [maxDays, setMaxDays] = useState(view.policy.bookingMaxDays)
  const host = useQuery({ ...queries.hostDevices(), enabled: may }).data
  const { mutate, isPending, error } = useOperation('labPolicyUpdate', {
    onSuccess: () => void showToast({ kind: 'done', title: t('settings.saved') }),
  })
  const mayNot = may ? null : t('notAllowed')
  const wrong = (field: string) => (error?.field === field ? error.message : undefined)
  const hours = (label: string, value: number, set: (value: number) => void, field: string) => (
    <NumberField
      label={label}
      unit={t('settings.hours')}
      min={1}
      value={value}
      disabledReason={mayNot}
      onValue={(next) => set(next ?? 0)}
      error={wrong(field)}
    />
  )
  const left = (host === undefined ? [] : choicesOf(host)).filter(
    (choice) => !devices.some(({ device }) => keyOf(device) === keyOf(choice.device)),
  )
  const fields = ['lease.', 'idle.', 'devices.', 'bookingMaxDays']
  return (
    <form
      noValidate
      className="flex max-w-3xl flex-col gap-6"
      onSubmit={(event) => {
        event.preventDefault()
        if (!may) return
        mutate({ input: { body: { lease, idle, devices, bookingMaxDays: maxDays } }, ifMatch: view.revision })
      }}
    >
      {error && !fields.some((field) => error.field?.startsWith(field)) && (
        <div role="alert">
          <Banner tone="error">{error.message}</Banner>
        </div>
      )}
      <Section title={t('settings.lease')}>
        <div className="grid items-start gap-4 sm:grid-cols-2">
          <Checkbox
            label={t('settings.useDefault')}
            hint={t('settings.useDefaultHint')}
            disabledReason={mayNot}
            checked={lease.defaultHours !== null}
            onChange={(event) => setLease({ ...lease, defaultHours: event.target.checked ? DEFAULT_HOURS : null })}
          />
          {lease.defaultHours === null ? (
            <span />
          ) : (
            hours(
              t('settings.defaultHours'),
              lease.defaultHours,
              (defaultHours) => setLease({ ...lease, defaultHours }),
              'lease.defaultHours',
            )
          )}
          <Checkbox
            label={t('settings.useMax')}
            disabledReason={mayNot}
            checked={lease.maxHours !== null}
            onChange={(event) => setLease({ ...lease, maxHours: event.target.checked ? MAX_HOURS : null })}
          />
          {lease.maxHours === null ? (
            <span />
          ) : (
            hours(
              t('settings.maxHours'),
              lease.maxHours,
              (maxHours) => setLease({ ...lease, maxHours }),
              'lease.maxHours',
            )
          )}
          {hours(
            t('settings.warnHours'),
            lease.warnHours,
            (warnHours) => setLease({ ...lease, warnHours }),
            'lease.warnHours',
          )}
          {hours(
            t('settings.graceHours'),
            lease.graceHours,
            (graceHours) => setLease({ ...lease, graceHours }),
            'lease.graceHours',
          )}
          <Select
            className="sm:col-span-2"
            label={t('settings.suspend')}
            value={lease.suspend}
            disabledReason={mayNot}
            onChange={(event) =>
              setLease({ ...lease, suspend: event.target.value === 'shutdown' ? 'shutdown' : 'pause' })
            }
            options={[
              { value: 'pause', label: t('settings.suspendPause') },
              { value: 'shutdown', label: t('settings.suspendShutdown') },
            ]}
          />
        </div>
      </Section>
      <Section title={t('settings.idle')}>
        <div className="grid items-start gap-4 sm:grid-cols-2">
          {hours(
            t('settings.afterHours'),
            idle.afterHours,
            (afterHours) => setIdle({ ...idle, afterHours }),
            'idle.afterHours',
          )}
          <Select
            label={t('settings.action')}
            value={idle.action}
            disabledReason={mayNot}
            onChange={({ target: { value } }) =>
              setIdle({ ...idle, action: value === 'pause' || value === 'warn' ? value : 'show' })
            }
            options={(['show', 'warn', 'pause'] as const).map((value) => ({
              value,
              label: t(`settings.actions.${value}`),
            }))}
          />
          <NumberField
            label={t('settings.cpuPercent')}
            unit="%"
            min={1}
            value={idle.cpuPercent}
            disabledReason={mayNot}
            onValue={(cpuPercent) => setIdle({ ...idle, cpuPercent: cpuPercent ?? 0 })}
            error={wrong('idle.cpuPercent')}
          />
          <NumberField
            label={t('settings.networkKBps')}
            unit="kB/s"
            min={0}
            value={idle.networkKBps}
            disabledReason={mayNot}
            onValue={(networkKBps) => setIdle({ ...idle, networkKBps: networkKBps ?? 0 })}
            error={wrong('idle.networkKBps')}
          />
          {idle.action === 'pause' &&
            hours(
              t('settings.idleWarnHours'),
              idle.warnHours,
              (warnHours) => setIdle({ ...idle, warnHours }),
              'idle.warnHours',
            )}
        </div>
      </Section>
      <Section title={t('settings.devices')} note={t('settings.devicesNote')}>
        {devices.length === 0 && <p className="text-faint">{t('settings.noDevices')}</p>}
        <ul className="flex flex-col gap-3">
          {devices.map((one, index) => (
            <li key={keyOf(one.device)} className="flex items-end gap-2">
              <TextField
                className="min-w-0 flex-1"
                label={`${t('settings.deviceName')} (${keyOf(one.device)})`}
                maxLength={64}
                value={one.name}
                disabledReason={mayNot}
                onChange={(event) =>
                  setDevices(devices.map((each, n) => (n === index ? { ...each, name: event.target.value } : each)))
                }
                error={wrong(`devices.${index}.name`)}
              />
              <IconButton
                label={t('settings.removeDevice', { name: one.name })}
                disabledReason={mayNot}
                onClick={() => setDevices(devices.filter((_, n) => n !== index))}
              >
                <X size={16} aria-hidden="true" />
              </IconButton>
            </li>
          ))}
        </ul>
        <div className="grid items-start gap-4 sm:grid-cols-2">
          <Select
            label={t('settings.addDevice')}
            value=""
            disabledReason={mayNot}
            hint={host !== undefined && left.length === 0 ? t('settings.noneLeft') : undefined}
            onChange={(event) => {
              const choice = left.find(({ device }) => keyOf(device) === event.target.value)
              if (choice) setDevices([...devices, { device: choice.device, name: choice.name.slice(0, 64) }])
            }}
            options={[
              { value: '', label: t('settings.chooseDevice') },
              ...left.map(({ device, name }) => ({ value: keyOf(device), label: name })),
            ]}
          />
          <NumberField
            label={t('settings.maxDays')}
            unit={t('settings.daysUnit')}
            min={1}
            value={maxDays}
            disabledReason={mayNot}
            onValue={(next) => setMaxDays(next ?? 0)}
            error={wrong('bookingMaxDays')}
          />
        </div>
      </Section>
      <div>
        <Button type="submit" variant="primary" pending={isPending} disabledReason={mayNot}>
          {t('save')}
        </Button>
      </div>
    </form>
  )
}
