import { expect, test } from 'vitest'
import { ApiError } from '#lib/client/api-client.ts'
import { quotaProblems } from './quota-problems.ts'

const refused = (item: string, code: ApiError['code'] = 'quota_exceeded') =>
  quotaProblems(new ApiError({ code, message: 'Too much.', status: 409, details: { item, limit: 1 } }))

test('a refused quota stands at the field that asks for too much; one that no field asks for stands above', () => {
  expect(refused('memoryMiB')).toEqual([{ field: 'memoryMiB', message: 'Too much.' }])
  expect(refused('vms')).toEqual([{ field: 'project', message: 'Too much.' }])
  expect(refused('snapshots')).toEqual([{ field: '', message: 'Too much.' }])
  expect(refused('vcpus', 'no_space')).toEqual([{ field: '', message: 'Too much.' }])
})
