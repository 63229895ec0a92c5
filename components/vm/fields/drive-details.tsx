'use client'
import { useQuery } from '@tanstack/react-query'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { ChoiceField, SwitchField } from './choice-field.tsx'
import { FamilyField as Family } from './family-field.tsx'
import type { SpecForm } from './form.ts'
import { Columns, NumberInput, PartField } from './plain-fields.tsx'
import { boardOf, driveScope } from './scope.ts'
import { useWords } from './use-words.ts'

const NO_LIMITS = {
  bytesPerSecond: 0,
  readBytesPerSecond: 0,
  writeBytesPerSecond: 0,
  iops: 0,
  readIops: 0,
  writeIops: 0,
  bytesPerSecondMax: 0,
  iopsMax: 0,
  burstSeconds: 1,
}

/** Everything about a drive but its content and size. */
export function DriveDetails({ form, index }: { readonly form: SpecForm; readonly index: number }) {
  const t = useT(deviceForms)
  const features = useQuery(queries.capabilities()).data?.features
  const scope = driveScope(form, index)
  const board = boardOf(form)
  const bus = scope.get('bus')
  const cache = scope.get('cache')
  const boardReason = (choice: string) =>
    choice === 'ide'
      ? board === 'pc'
        ? null
        : t('wantsBoard.pc')
      : board === 'microvm' && choice !== 'virtio-blk' && choice !== 'virtio-scsi'
        ? t('wantsBoard.pci')
        : null
  const boot = (
    <NumberInput
      scope={scope}
      name="bootIndex"
      label={t('field.bootIndex')}
      hint={t('field.bootIndexHint')}
      min={1}
      max={99}
    />
  )
  if (scope.get('device') === 'cdrom')
    return (
      <div className="@container flex min-w-0 flex-col gap-4">
        <ChoiceField scope={scope} name="bus" family="cdBus" refuse={boardReason} />
        <Columns>
          {boot}
          <NumberInput
            scope={scope}
            name="port"
            label={t('field.port')}
            hint={t('field.rootPortHint')}
            min={0}
            max={255}
          />
        </Columns>
      </div>
    )
  const hasQueues = bus === 'virtio-blk' || bus === 'nvme'
  const isVirtio = bus === 'virtio-blk' || bus === 'virtio-scsi'
  const isOnSocket = bus === 'virtio-blk' || bus === 'nvme'
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <ChoiceField scope={scope} name="bus" family="diskBus" refuse={boardReason} />
      <Columns>
        <ChoiceField scope={scope} name="cache" family="cache" as="select" />
        <ChoiceField
          scope={scope}
          name="aio"
          family="aio"
          as="select"
          refuse={(choice) =>
            choice === 'native' && cache !== 'none' && cache !== 'directsync'
              ? t('wantsDirect')
              : choice === 'io_uring' && features?.ioUring === false
                ? t('wantsUringBuild')
                : null
          }
        />
        <ChoiceField scope={scope} name="discard" family="discard" as="select" />
        <ChoiceField scope={scope} name="detectZeroes" family="detectZeroes" as="select" />
        <ChoiceField
          scope={scope}
          name="werror"
          family="werror"
          as="select"
          refuse={(choice) => (bus === 'nvme' && choice !== 'report' ? t('wantsReport') : null)}
        />
        {boot}
        <Family scope={scope} name="serial" family="diskSerial" />
        <Family
          scope={scope}
          name="queues"
          family="diskQueues"
          number={{ min: 1, max: 64 }}
          disabledReason={hasQueues ? null : t('wantsQueues')}
        />
      </Columns>
      <SwitchField scope={scope} name="ioThread" family="ioThread" refuse={isVirtio ? null : t('wantsVirtioDisk')} />
      <SwitchField scope={scope} name="readOnly" family="readOnly" />
      <SwitchField scope={scope} name="shared" family="shared" />
      <Throttle scope={scope} />
      <Columns>
        {isOnSocket ? (
          <NumberInput
            scope={scope}
            name="rootPort"
            label={t('field.rootPort')}
            hint={t('field.rootPortHint')}
            min={0}
            max={31}
          />
        ) : (
          <NumberInput
            scope={scope}
            name="port"
            label={t('field.port')}
            hint={t('field.rootPortHint')}
            min={0}
            max={255}
          />
        )}
      </Columns>
    </div>
  )
}

const BYTES = ['bytesPerSecond', 'readBytesPerSecond', 'writeBytesPerSecond', 'bytesPerSecondMax'] as const
const OPERATIONS = ['iops', 'readIops', 'writeIops', 'iopsMax'] as const

function Throttle({ scope }: { readonly scope: ReturnType<typeof driveScope> }) {
  const t = useT(deviceForms)
  const words = useWords()('throttle')
  return (
    <PartField scope={scope} name="throttle" label={t('field.throttle')} hint={words.what} initial={NO_LIMITS}>
      {(part) => (
        <>
          <p className="text-faint text-sm">{t('field.zeroIsNone')}</p>
          <Columns>
            {BYTES.map((name) => (
              <NumberInput key={name} scope={part} name={name} label={t(`field.${name}`)} unit="B/s" min={0} />
            ))}
            {OPERATIONS.map((name) => (
              <NumberInput key={name} scope={part} name={name} label={t(`field.${name}`)} min={0} />
            ))}
            <NumberInput scope={part} name="burstSeconds" label={t('field.burstSeconds')} unit="s" min={1} max={3600} />
          </Columns>
        </>
      )}
    </PartField>
  )
}
