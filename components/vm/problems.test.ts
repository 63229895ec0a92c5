import { expect, it } from 'vitest'
import { ApiError } from '#lib/client/api-client.ts'
import { pointerOf, problemsOf } from './problems.ts'

const error = (init: { message: string; field?: string; details?: unknown }) =>
  new ApiError({ code: 'bad_input', status: 400, ...init })

it('one problem stands at its field, without repeating its name', () => {
  expect(problemsOf(error({ message: 'cpus: at most 8.', field: 'cpus' }))).toEqual([
    { field: 'cpus', message: 'At most 8.' },
  ])
  expect(problemsOf(error({ message: 'Not now.' }))).toEqual([{ field: '', message: 'Not now.' }])
})

it('several problems come from the details', () => {
  const problems = [
    { field: 'disks.0.image', message: 'That image is a disk.' },
    { field: 'cpuModel', message: 'No such model.' },
  ]
  expect(problemsOf(error({ message: 'x', field: 'disks.0.image', details: { problems } }))).toEqual(problems)
})

it('details of another shape are not taken for problems', () => {
  for (const details of [null, 'text', { problems: 'no' }, { problems: [{ field: 1 }] }])
    expect(problemsOf(error({ message: 'Why.', field: 'name', details }))).toEqual([{ field: 'name', message: 'Why.' }])
})

it('a dotted path becomes a pointer', () => {
  expect(pointerOf('networks.0.forwards.1.hostPort')).toBe('/networks/0/forwards/1/hostPort')
})
