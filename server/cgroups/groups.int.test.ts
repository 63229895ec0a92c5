/** Control groups of real guests on whatever this host has: the groups themselves need no controller. */
import { existsSync, readFileSync, rmdirSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readProcStat } from '#server/platform/process.ts'
import { known, sleep, started, untilState } from '#server/vm/testing/harness.ts'
import { type Lab, openLab } from '#server/vm/testing/lab.ts'
import { withTpm } from '#server/vm/testing/tpm.ts'
import { type ControlGroups, openControlGroups } from './groups.ts'
import { CONTROLLERS, chooseBase } from './plan.ts'

const isRoot = process.getuid?.() === 0
const NAME = `/guestdeck-test-${process.pid}`
const base = chooseBase({
  mountinfo: readFileSync('/proc/self/mountinfo', 'utf8'),
  ...{ own: '', isRoot, hasSystemd: false, setting: NAME },
})
const guestsDir = base.kind === 'found' ? base.guests : ''
const canMake = isRoot && base.kind === 'found'

let lab: Lab
let groups: ControlGroups
const warnings: string[] = []
beforeEach(async () => {
  lab = await openLab()
  warnings.length = 0
  groups = await openControlGroups({ setting: NAME, warn: (message) => warnings.push(message) })
})
afterEach(async () => {
  await lab.close()
  if (existsSync(guestsDir)) rmdirSync(guestsDir)
})

const membersOf = (vmId: string) =>
  readFileSync(`${guestsDir}/${vmId}/cgroup.procs`, 'utf8').trim().split('\n').map(Number)
const isThere = (vmId: string) => existsSync(`${guestsDir}/${vmId}`)

test('what the host lacks is told with its reason, and guests start all the same', async () => {
  const { status } = groups
  const missing = CONTROLLERS.filter((controller) => !status.controllers.includes(controller))
  for (const controller of missing)
    expect(status.detail).toMatch(new RegExp(`“${controller}”|cannot be made|no cgroup v2`))
  const nowhere = await openControlGroups({ setting: 'off', warn: (message) => warnings.push(message) })
  const { s, vmId } = await started({ ...lab, supervisor: () => lab.supervisor({ groups: nowhere }) })
  expect(s.runtime(vmId)).toMatchObject({
    state: 'running',
    live: { limits: { reason: expect.stringContaining('GUESTDECK_CGROUP=off'), limits: [] } },
  })
  expect(warnings).toEqual([])
})

test.skipIf(!canMake)(
  'QEMU and its TPM are in the guest’s group, through a restart of the dashboard, and the group goes with them',
  async () => {
    const s = lab.supervisor({ groups })
    const vmId = '0190a000-0000-7000-8000-0000000000c1'
    s.register(vmId)
    const prepared = withTpm(await lab.prepare(vmId), lab)
    const { live } = await s.start(vmId, 'ann', async () => prepared)
    const names = membersOf(vmId).map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim())
    expect(names.sort()).toEqual([expect.stringContaining('qemu'), 'swtpm'])
    expect(membersOf(vmId)).toContain(live?.pid)
    expect(live?.limits.limits.map(({ id, holds }) => [id, holds])).toEqual([
      ['cpu-weight', groups.status.controllers.includes('cpu')],
      ['cpu-limit', groups.status.controllers.includes('cpu')],
      ['memory', groups.status.controllers.includes('memory')],
      ['processes', groups.status.controllers.includes('pids')],
      ['io-weight', expect.any(Boolean)],
    ])
    await s.detach()

    // Started without groups, as by an older release; the next dashboard finds both and puts the second in as well.
    const bare = lab.supervisor()
    const other = '0190a000-0000-7000-8000-0000000000c2'
    bare.register(other)
    const plain = await lab.prepare(other)
    await bare.start(other, 'ann', async () => plain)
    await bare.detach()
    expect(isThere(other)).toBe(false)
    const next = lab.supervisor({ groups })
    await next.adoptAll(known(vmId, other))
    await expect
      .poll(() => isThere(other) && membersOf(other), { timeout: 20_000 })
      .toEqual([next.runtime(other).live?.pid])
    expect(membersOf(vmId)).toHaveLength(2)

    await next.poweroff(vmId, 'ann')
    await next.poweroff(other, 'ann')
    await untilState(next, vmId, 'off')
    await next.detach()
    expect([isThere(vmId), isThere(other)]).toEqual([false, false])
    expect(warnings).toEqual([])
  },
)

test.skipIf(!canMake)('a guest that ended while nobody looked leaves no group behind', async () => {
  const { s, vmId, pid } = await started({ ...lab, supervisor: () => lab.supervisor({ groups }) })
  await s.detach()
  process.kill(pid, 'SIGKILL')
  while (!['Z', 'X', undefined].includes(readProcStat(pid)?.state)) await sleep(5)
  expect(isThere(vmId)).toBe(true)
  const next = lab.supervisor({ groups })
  await next.adoptAll(known(vmId))
  expect(isThere(vmId)).toBe(false)
})
