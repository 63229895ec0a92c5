'use client'
import { useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { ChoiceField, SwitchField, useMissing } from '../choice-field.tsx'
import { type SpecForm, shownValue } from '../form.ts'
import { LinesInput, NumberInput, PartField, TextInput } from '../plain-fields.tsx'
import { RowEditor } from '../row-editor.tsx'
import { boardOf, vmScope } from '../scope.ts'
import { useWords } from '../use-words.ts'

export function ChannelsPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()('vsock')
  const missing = useMissing()
  const scope = vmScope(form)
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <SwitchField scope={scope} name="serial" family="serial" />
      {shownValue(form, 'serial') === true && (
        <ChoiceField
          scope={scope}
          name="serialDevice"
          family="serialDevice"
          refuse={(choice) => (choice === 'pci-serial' && boardOf(form) === 'microvm' ? t('wantsBoard.pci') : null)}
        />
      )}
      <RowEditor form={form} list="channels" />
      <PartField
        scope={scope}
        name="vsock"
        label={words.name}
        hint={[words.what, words.choices?.on?.needs].join(' ')}
        initial={{ cid: 3 + Math.floor(Math.random() * 1_000_000) }}
        disabledReason={missing('vsock', 'on')}
      >
        {(part) => (
          <div className="max-w-60">
            <NumberInput scope={part} name="cid" label={t('field.cid')} min={3} max={4_294_967_294} />
          </div>
        )}
      </PartField>
    </div>
  )
}

export function HelpersPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()('watchdog')
  const scope = vmScope(form)
  const board = boardOf(form)
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <SwitchField scope={scope} name="agentChannel" family="agentChannel" />
      <SwitchField scope={scope} name="rng" family="rng" />
      <PartField
        scope={scope}
        name="watchdog"
        label={words.name}
        hint={words.what}
        initial={{ model: 'i6300esb', action: 'reset' }}
        disabledReason={board === 'microvm' ? t('wantsBoard.pci') : null}
      >
        {(part) => (
          <>
            <ChoiceField
              scope={part}
              name="model"
              family="watchdog"
              refuse={(choice) => (choice === 'itco' && board !== 'q35' ? t('wantsBoard.q35') : null)}
            />
            <ChoiceField scope={part} name="action" family="watchdogAction" as="select" />
          </>
        )}
      </PartField>
    </div>
  )
}

export function SharesPart({ form }: { readonly form: SpecForm }) {
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <RowEditor form={form} list="shares" />
    </div>
  )
}

export function HostDevicesPart({ form }: { readonly form: SpecForm }) {
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <RowEditor form={form} list="hostDevices" />
    </div>
  )
}

export function ClockPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const offset = useWords()('clockOffset')
  const scope = vmScope(form)
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <ChoiceField scope={scope} name="clock" family="clock" />
      <div className="max-w-60">
        <NumberInput
          scope={scope}
          name="clockOffsetSeconds"
          label={t('field.clockOffset')}
          hint={offset.what}
          unit="s"
        />
      </div>
    </div>
  )
}

const SMBIOS = ['manufacturer', 'product', 'version', 'serial', 'sku', 'family'] as const
const NO_TEXTS = { ...Object.fromEntries(SMBIOS.map((name) => [name, null])), oemStrings: [] }

export function SmbiosPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()('smbios')
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <PartField scope={vmScope(form)} name="smbios" label={t('field.smbios')} hint={words.what} initial={NO_TEXTS}>
        {(part) => (
          <>
            <div className="grid gap-3 @md:grid-cols-2">
              {SMBIOS.map((name) => (
                <TextInput key={name} scope={part} name={name} label={t(`field.${name}`)} nullable maxLength={128} />
              ))}
            </div>
            <LinesInput scope={part} name="oemStrings" label={t('field.oemStrings')} hint={t('field.oemStringsHint')} />
          </>
        )}
      </PartField>
    </div>
  )
}

export function KernelPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()('directKernel')
  const isAdmin = useCan('user.manage')
  const reason = isAdmin ? null : t('adminOnly')
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <PartField
        scope={vmScope(form)}
        name="directKernel"
        label={t('field.directKernel')}
        hint={words.what}
        initial={{ kernel: '', initrd: null, commandLine: '' }}
        disabledReason={reason}
      >
        {(part) => (
          <>
            <TextInput
              scope={part}
              name="kernel"
              label={t('field.kernel')}
              hint={t('field.hostPathHint')}
              mono
              disabledReason={reason}
            />
            <TextInput scope={part} name="initrd" label={t('field.initrd')} nullable mono disabledReason={reason} />
            <TextInput scope={part} name="commandLine" label={t('field.commandLine')} mono disabledReason={reason} />
          </>
        )}
      </PartField>
    </div>
  )
}

export function ExpertPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const isAdmin = useCan('user.manage')
  const words = useWords()
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <p className="text-faint text-sm">{words('rawArgs').what}</p>
      <LinesInput
        scope={vmScope(form)}
        name="rawArgs"
        label={t('field.rawArgs')}
        hint={t('field.rawArgsHint')}
        disabledReason={isAdmin ? null : t('adminOnly')}
      />
    </div>
  )
}
