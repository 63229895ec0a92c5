import { expect, test } from 'vitest'
import { createLossRecord } from './loss-record.ts'

test('every loss is written down once, and again when it happens again', () => {
  const lines: string[] = []
  const record = { spec: { name: 'web' }, ownerId: 'ann' }
  const losses = createLossRecord(
    { get: () => record as never },
    { write: (line) => lines.push(`${line.what} ${line.ownerId} ${line.text}`) },
  )
  losses.changed('v', { troubles: [] })
  losses.changed('v', { troubles: ['TPM gone.'] })
  losses.changed('v', { troubles: ['TPM gone.'] })
  losses.changed('v', { troubles: ['TPM gone.', 'Folder gone.'] })
  losses.changed('v', { troubles: [] })
  losses.changed('v', { troubles: ['TPM gone.'] })
  expect(lines).toEqual(['vmLoss ann web: TPM gone.', 'vmLoss ann web: Folder gone.', 'vmLoss ann web: TPM gone.'])
})
