/**
 * What one person may not reach of another's, and what nobody may set, from outside: a dashboard as a process, two
 * members with VMs, disks, images and backups, and an operator.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { API_BASE } from '#lib/api/contract.ts'
import type { Job } from '#lib/schema/job.ts'
import { type Answer, send } from '#server/http/test-rig.ts'
import { rawDisk } from '#server/images/testing/forge.ts'
import { dir, PASSWORD, ready, server, token } from '#server/testing/process-rig.ts'

const MiB = 2 ** 20
const SECRET = 'a-seed-secret-nobody-else-reads'
type Headers = Record<string, string>

async function lab() {
  const admin = { authorization: `Bearer ${await token()}` }
  const port = await ready(server())
  const origin = `http://127.0.0.1:${port}`
  const ask = (who: Headers, method: string, path: string, body?: unknown): Promise<Answer> =>
    send(port, method, `${API_BASE}${path}`, {
      headers: { ...who, ...(body !== undefined && { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
  const done = async (who: Headers, method: string, path: string, body?: unknown) => {
    const answer = await ask(who, method, path, body)
    expect(answer.status, `${method} ${path}: ${answer.text}`).toBeLessThan(300)
    return answer.json
  }
  const ended = async (who: Headers, job: Job): Promise<Job> => {
    const look = async (): Promise<Job> => done(who, 'GET', `/jobs/${job.id}`)
    await expect.poll(async () => (await look()).endedAt, { timeout: 60_000 }).not.toBeNull()
    const now = await look()
    expect(now, JSON.stringify(now.error)).toMatchObject({ state: 'done' })
    return now
  }
  const person = async (name: string, role: string): Promise<Headers> => {
    await done(admin, 'POST', '/users', { name, password: PASSWORD, role })
    const answer = await ask({ origin }, 'POST', '/session', { name, password: PASSWORD })
    return { cookie: String(answer.headers['set-cookie']).split(';')[0] ?? '', origin }
  }
  const upload = async (who: Headers, name: string): Promise<string> => {
    const answer = await send(port, 'POST', `${API_BASE}/images/upload?name=${name}`, {
      headers: { ...who, 'content-type': 'application/octet-stream' },
      body: rawDisk(MiB),
    })
    expect(answer.status, answer.text).toBe(201)
    return answer.json.id
  }
  return { admin, ask, done, ended, person, upload }
}
const SMALL = { memoryMiB: 32, cpus: 1, networks: [] }

test('nobody makes a disk of another’s VM their own, nor a free disk of another’s; what VMs stand on stays; a backup is its owner’s alone, and no secret of a seed is ever given out (R05, R11, R12, D10)', {
  timeout: 180_000,
}, async () => {
  const { admin, ask, done, ended, person, upload } = await lab()
  const [ann, ben, olga] = [
    await person('anna', 'member'),
    await person('ben', 'member'),
    await person('olga', 'operator'),
  ] as const
  const image = await upload(ann, 'base.img')
  const vm = await done(ann, 'POST', '/vms', {
    ...{ ...SMALL, name: 'hers', disks: [{ device: 'disk', image }] },
    seed: { kind: 'nocloud', text: `#cloud-config\nruncmd:\n  - echo ${SECRET}\n` },
  })
  const his = await done(ben, 'POST', '/vms', { ...SMALL, name: 'his', disks: [] })
  const volumes = (await done(ann, 'GET', '/volumes')).items as { id: string; vm: { id: string } | null }[]
  const attached = volumes.find((one) => one.vm?.id === vm.id)?.id ?? ''
  const free = (await done(ann, 'POST', '/volumes', { name: 'free', sizeGiB: 1 })).id
  const code = ({ status, json }: Answer) => `${status} ${json?.error?.code ?? ''}`

  for (const who of [ben, olga]) {
    for (const [method, path, body] of [
      ['POST', `/volumes/${attached}/attach`, { vmId: his.id }],
      ['POST', `/volumes/${free}/attach`, { vmId: his.id }],
      ['POST', `/volumes/${attached}/copy`, { name: 'stolen' }],
      ['POST', `/volumes/${free}/copy`, { name: 'stolen' }],
      ['DELETE', `/volumes/${free}`, undefined],
      ['POST', `/vms/${vm.id}/backups`, {}],
      ['POST', `/vms/${vm.id}/clones`, { name: 'stolen' }],
      ['GET', `/vms/${vm.id}/seed`, undefined],
      ['GET', `/vms/${vm.id}/command-line`, undefined],
    ] as const)
      expect(code(await ask(who, method, path, body)), `${method} ${path}`).toBe('404 not_found')
  }
  // Nor into a VM of another's: of one's own disks, or by naming a disk in a definition.
  const bens = (await done(ben, 'POST', '/volumes', { name: 'bens', sizeGiB: 1 })).id
  expect(code(await ask(ben, 'POST', `/volumes/${bens}/attach`, { vmId: vm.id }))).toBe('404 not_found')
  for (const disk of [
    { device: 'disk', volume: attached },
    { device: 'disk', volume: free },
    { id: 'disk0', device: 'disk', volumeId: attached },
  ]) {
    const answer = await ask(ben, 'PATCH', `/vms/${his.id}`, { disks: [disk] })
    expect([400, 404, 409], answer.text).toContain(answer.status)
  }
  expect((await done(ben, 'GET', `/vms/${his.id}`)).spec.disks).toEqual([])
  // One disk, two VMs of the same person.
  const second = await done(ann, 'POST', '/vms', { ...SMALL, name: 'second', disks: [] })
  expect((await ask(ann, 'POST', `/volumes/${attached}/attach`, { vmId: second.id })).status).toBe(409)

  expect(code(await ask(ann, 'DELETE', `/images/${image}`))).toBe('409 in_use')
  expect(code(await ask(ben, 'DELETE', `/images/${image}`))).toBe('403 forbidden')
  expect((await done(ann, 'GET', `/images/${image}`)).id).toBe(image)

  const backup = (await ended(ann, await done(ann, 'POST', `/vms/${vm.id}/backups`, {}))).result ?? ''
  for (const who of [ben, olga]) {
    for (const [method, path, body] of [
      ['GET', `/backups/${backup}`, undefined],
      ['POST', `/backups/${backup}/restore`, { as: 'new', name: 'stolen' }],
      ['GET', `/backups/${backup}/files?path=/`, undefined],
      ['DELETE', `/backups/${backup}`, undefined],
    ] as const)
      expect(code(await ask(who, method, path, body)), `${method} ${path}`).toBe('404 not_found')
    expect((await done(who, 'GET', '/backups')).items).toEqual([])
  }
  // Nobody reads it back, in no answer to anybody.
  for (const who of [ann, admin]) {
    for (const path of [
      `/vms/${vm.id}`,
      `/vms/${vm.id}/seed`,
      `/vms/${vm.id}/command-line`,
      `/vms/${vm.id}/activity`,
      `/backups/${backup}`,
      '/activity',
      '/jobs',
    ]) {
      const { status, text } = await ask(who, 'GET', path)
      expect(status, path).toBe(200)
      expect(text, path).not.toContain(SECRET)
    }
  }
})

test('files, devices, kernels, bridges and raw options of the host are for administrators, and only where these were allowed; what the dashboard decides nobody sets (R07, R10)', {
  timeout: 180_000,
}, async () => {
  const { admin, ask, done, person } = await lab()
  const canary = join(dir, 'canary')
  writeFileSync(canary, 'untouched')
  const [ann, olga] = [await person('anna', 'member'), await person('olga', 'operator')] as const
  const vm = await done(ann, 'POST', '/vms', { ...SMALL, name: 'hers', disks: [] })
  const ofOlga = await done(olga, 'POST', '/vms', { ...SMALL, name: 'olgas', disks: [] })
  const wishes: readonly [string, object][] = [
    ['rawArgs', { rawArgs: ['-drive', `file=${canary},format=raw`] }],
    ['directKernel', { directKernel: { kernel: '/boot/vmlinuz', initrd: null, commandLine: '' } }],
    ['hostDevices', { hostDevices: [{ type: 'pci', address: '0000:00:00.0' }] }],
    ['shares', { shares: [{ source: dir, driver: '9p' }] }],
    ['networks.0.network', { networks: [{ network: 'bridge', bridge: 'br0' }] }],
  ]
  for (const [who, own] of [
    [ann, vm],
    [olga, ofOlga],
  ] as const) {
    for (const [field, wish] of wishes) {
      for (const [method, path, body] of [
        ['POST', '/vms', { ...SMALL, name: 'more', disks: [], ...wish }],
        ['POST', '/vms/preview', { ...SMALL, name: 'more', disks: [], ...wish }],
        ['PATCH', `/vms/${own.id}`, wish],
        ['POST', `/vms/${own.id}/preview`, wish],
      ] as const) {
        const { status, json, text } = await ask(who, method, path, body)
        expect([status, json?.error?.code], `${method} ${path} ${field}: ${text}`).toEqual([403, 'forbidden'])
        expect(String(json.error.field), text).toContain(field.split('.')[0])
      }
    }
    for (const [path, body] of [
      ['/images/register', { path: '/dev/sda' }],
      ['/images/import', { path: canary }],
      ['/pools', { name: 'mine', path: dir }],
    ] as const)
      expect((await ask(who, 'POST', path, body)).json.error.code, path).toBe('forbidden')
  }
  // Even an administrator: not outside the directories that the configuration names.
  for (const path of ['/dev/sda', '/etc/shadow', canary, join(dir, 'd/../canary')])
    for (const operation of ['/images/register', '/images/import']) {
      const { status, json } = await ask(admin, 'POST', operation, { path })
      expect([400, 403, 404, 409, 422], `${path}: ${JSON.stringify(json)}`).toContain(status)
    }
  expect((await ask(admin, 'POST', '/vms', { ...SMALL, name: 'raw', disks: [], rawArgs: ['-S'] })).status).toBe(403)
  expect(readFileSync(canary, 'utf8')).toBe('untouched')

  const before = await done(ann, 'GET', `/vms/${vm.id}`)
  const set = {
    id: ofOlga.id,
    ownerId: 'x',
    owner: {},
    state: 'running',
    pid: 1,
    createdAt: 'x',
    lock: null,
    revision: 9,
  }
  for (const [field, value] of Object.entries(set)) {
    for (const [method, path, body] of [
      ['PATCH', `/vms/${vm.id}`, { [field]: value }],
      ['POST', '/vms', { ...SMALL, name: 'more', disks: [], [field]: value }],
      ['POST', '/volumes', { name: 'more', sizeGiB: 1, [field]: value }],
      ['POST', `/vms/${vm.id}/snapshots`, { [field]: value }],
    ] as const) {
      const { status, json } = await ask(ann, method, path, body)
      expect([status, json.error.code, json.error.field], `${method} ${path} ${field}`).toEqual([
        400,
        'unknown_field',
        field,
      ])
    }
  }
  // The role is no part of what one may change about oneself.
  for (const [path, body] of [
    ['/session/password', { current: PASSWORD, next: 'another password', role: 'admin' }],
    ['/tokens', { label: 'x', role: 'admin' }],
    ['/account/sessions/end', { userId: 'x' }],
  ] as const)
    expect((await ask(ann, 'POST', path, body)).json.error.code, path).toBe('unknown_field')
  expect(await done(ann, 'GET', `/vms/${vm.id}`)).toEqual(before)
  expect((await done(ann, 'GET', '/session')).user.role).toBe('member')
  expect((await done(admin, 'GET', '/vms')).items).toHaveLength(2)
  expect(existsSync(join(dir, 'd/more'))).toBe(false)
})
