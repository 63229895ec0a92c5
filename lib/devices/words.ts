/** The English words of the catalogue, by family. Pages translate them with the same keys. */
import type { Catalogue, Messages } from '../i18n/define.ts'
import { devicesBus } from '../i18n/messages/en/devices-bus.ts'
import { devicesNetwork } from '../i18n/messages/en/devices-network.ts'
import { devicesPlatform } from '../i18n/messages/en/devices-platform.ts'
import { devicesScreen } from '../i18n/messages/en/devices-screen.ts'
import { devicesStorage } from '../i18n/messages/en/devices-storage.ts'
import { type FamilyId, familyOf, type Group } from './catalogue.ts'

export interface ChoiceWords {
  readonly name: string
  readonly what: string
  /** What the guest or the host needs for it. */
  readonly needs?: string
  /** Host CPU, memory, mobility. */
  readonly cost?: string
  /** Why it is the one to take, for the guests it is recommended for. */
  readonly why?: string
}

export interface FamilyWords {
  readonly name: string
  readonly what: string
  readonly choices?: { readonly [value: string]: ChoiceWords }
}

/** The message catalogue that a group's families are described in. */
export const GROUP_WORDS: { readonly [G in Group]: Catalogue<Messages> } = {
  platform: devicesPlatform,
  storage: devicesStorage,
  network: devicesNetwork,
  screen: devicesScreen,
  bus: devicesBus,
}

/** What a family and its choices are called and mean. A test holds every family to the shape. */
export const familyWords = (id: FamilyId): FamilyWords =>
  GROUP_WORDS[familyOf(id).group].messages[id] as unknown as FamilyWords
