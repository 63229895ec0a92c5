'use client'
import { useCallback } from 'react'
import { useT } from '#lib/client/i18n.tsx'
import { type FamilyId, familyOf, type Group } from '#lib/devices/catalogue.ts'
import { type FamilyWords, familyWords, GROUP_WORDS } from '#lib/devices/words.ts'

type Say = (key: string) => string

/** What a family of the catalogue and its choices are called, in the reader's language. */
export function useWords(): (id: FamilyId) => FamilyWords {
  // The keys are families and choices, which a test of the catalogue holds to the messages.
  const platform = useT(GROUP_WORDS.platform) as unknown as Say
  const storage = useT(GROUP_WORDS.storage) as unknown as Say
  const network = useT(GROUP_WORDS.network) as unknown as Say
  const screen = useT(GROUP_WORDS.screen) as unknown as Say
  const bus = useT(GROUP_WORDS.bus) as unknown as Say
  return useCallback(
    (id) => {
      const say: Readonly<Record<Group, Say>> = { platform, storage, network, screen, bus }
      const t = say[familyOf(id).group]
      const english = familyWords(id)
      const choices = Object.entries(english.choices ?? {}).map(([value, words]) => [
        value,
        Object.fromEntries(Object.keys(words).map((key) => [key, t(`${id}.choices.${value}.${key}`)])),
      ])
      // The shape is that of the English words.
      return { name: t(`${id}.name`), what: t(`${id}.what`), choices: Object.fromEntries(choices) } as FamilyWords
    },
    [platform, storage, network, screen, bus],
  )
}
