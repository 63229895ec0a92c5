'use client'
import { PowerList } from '#components/lab/power-list.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import { LabFrame } from './lab-frame.tsx'

export function PowerScreen() {
  const t = useT(messages)
  return (
    <LabFrame intro={t('power.intro')}>
      <PowerList />
    </LabFrame>
  )
}
