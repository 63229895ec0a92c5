'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { call } from '#lib/client/api-client.ts'
import { useT } from '#lib/client/i18n.tsx'
import { seed as messages } from '#lib/i18n/messages/en/seed.ts'
import { networkConfigOf } from '#lib/seed/cloud-config.ts'
import type { TextProblem } from '#lib/seed/yaml-text.ts'
import { cloudForm, type SeedDraft, type SeedFieldsProps } from './seed-draft.ts'
import { YamlEditor } from './yaml-editor.tsx'
import { checkNetworkConfig, checkText, draftOf, textOf } from './yaml-tools.ts'

/** The draft with the text its form writes, and its password hashed. */
export async function textWith(draft: SeedDraft): Promise<SeedDraft> {
  // Windows takes no hash: the password is typed into the text, where it is plainly seen.
  if (draft.password === '' || draft.kind === 'windows') return { ...draft, text: textOf(draft) }
  const { hash } = await call('seedPasswordHash', { body: { password: draft.password } })
  const hashed = { ...draft, password: '', passwordHash: hash }
  return { ...hashed, text: textOf(hashed) }
}

const START_OF_NETWORK = 'version: 2\nethernets:\n  card0:\n    match:\n      macaddress: "{mac0}"\n    dhcp4: true\n'

/** The text by hand, and the way back. */
export function SeedText({ draft, onDraft, errorOf }: Pick<SeedFieldsProps, 'draft' | 'onDraft' | 'errorOf'>) {
  const t = useT(messages)
  const [isLossy, setLossy] = useState(false)
  const wordsOf = (problem: TextProblem) => t(`problem.${problem.code}`, { detail: problem.detail })
  const text = draft.text ?? ''
  const back = () => {
    const form = draftOf(draft)
    if (form !== null) onDraft(form)
    else if (draft.text === textOf(draft)) onDraft({ ...draft, text: null })
    else setLossy(true)
  }
  const error = errorOf('text')
  const networkError = errorOf('networkConfig')
  return (
    <div className="flex min-w-0 flex-col gap-3">
      <p className="text-dim text-sm">{t('byHand')}</p>
      <YamlEditor
        label={t('text')}
        value={text}
        isYaml={draft.kind === 'nocloud' || draft.kind === 'autoinstall'}
        check={(value) => checkText(draft.kind, value)}
        wordsOf={wordsOf}
        onValue={(value) => {
          setLossy(false)
          onDraft({ ...draft, text: value })
        }}
      />
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
      {draft.kind === 'nocloud' &&
        (draft.networkText === null ? (
          <div>
            <Button
              size="sm"
              onClick={() =>
                onDraft({ ...draft, networkText: networkConfigOf(cloudForm(draft).networks) ?? START_OF_NETWORK })
              }
            >
              {t('ownNetwork')}
            </Button>
          </div>
        ) : (
          <div className="flex flex-col gap-1">
            <h4 className="font-medium text-dim text-sm">{t('networkText')}</h4>
            <YamlEditor
              label={t('networkText')}
              value={draft.networkText}
              isYaml
              check={checkNetworkConfig}
              wordsOf={wordsOf}
              onValue={(value) => onDraft({ ...draft, networkText: value })}
            />
            {networkError && (
              <p role="alert" className="text-crashed text-sm">
                {networkError}
              </p>
            )}
          </div>
        ))}
      {isLossy ? (
        <Banner
          tone="attention"
          actions={
            <Button size="sm" onClick={() => onDraft({ ...draft, text: null, networkText: null })}>
              {t('dropText')}
            </Button>
          }
        >
          {t('toFormLossy')}
        </Banner>
      ) : (
        <div>
          <Button size="sm" onClick={back}>
            {t('toForm')}
          </Button>
        </div>
      )}
    </div>
  )
}
