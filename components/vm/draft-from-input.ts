/** A draft of the create page from a definition that is not complete: an appliance's. Pure. */
import {
  type CardDraft,
  type DeviceRow,
  type DriveDraft,
  newCard,
  ROW_LISTS,
  type SpecDraft,
  type SpecInput,
} from './spec-draft.ts'

type DriveInput = NonNullable<SpecInput['disks']>[number]
type CardInput = NonNullable<SpecInput['networks']>[number]

const driveDraft = ({ device, image, ...more }: DriveInput, key: string): DriveDraft => {
  const { sizeGiB, ...rest } = 'sizeGiB' in more ? more : { ...more, sizeGiB: undefined }
  return {
    ...{ key, device, image: image ?? null, origin: 'own' },
    ...(sizeGiB === undefined ? {} : { sizeGiB }),
    ...(Object.keys(rest).length > 0 ? { more: rest } : {}),
  }
}

const cardDraft = ({ mac, restrict, forwards, ...more }: CardInput, key: string): CardDraft => ({
  ...newCard(key),
  ...(mac === undefined ? {} : { mac }),
  restrict: restrict ?? false,
  forwards: (forwards ?? []).map((forward, n) => ({
    key: `${key}-${n}`,
    protocol: forward.protocol ?? 'tcp',
    hostPort: forward.hostPort,
    guestPort: forward.guestPort,
  })),
  ...(Object.keys(more).length > 0 ? { more } : {}),
})

/** @param nextKey for the rows of the page */
export function fromInput(input: SpecInput, nextKey: () => string): SpecDraft {
  const { name, disks, networks, inputs, dimms, channels, shares, hostDevices, ...scalars } = input
  const given = { inputs, dimms, channels, shares, hostDevices }
  const rows = (list: readonly object[] | undefined): DeviceRow[] =>
    (list ?? []).map((fields) => ({ key: nextKey(), fields: { ...fields } }))
  return {
    name,
    // The keys are those of a definition; values left out stay out.
    scalars: scalars as SpecDraft['scalars'],
    lists: Object.fromEntries(ROW_LISTS.map((list) => [list, rows(given[list])])),
    drives: (disks ?? []).map((drive) => driveDraft(drive, nextKey())),
    cards: (networks ?? []).map((card) => cardDraft(card, nextKey())),
  }
}
