/**
 * What the board remembers belongs to a snapshot: UEFI variables and the TPM of a real guest, written by the guest itself
 * before and after, with memory and of disks alone.
 */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { ensureDeviceGuest } from '#e2e/guests/build.ts'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import type { Job } from '#lib/schema/job.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { QEMU_IDS } from '#server/spec/ids.ts'
import { HubLine } from '#server/vm/testing/hub-line.ts'
import { ADMIN, create, data, imageDir, now, until } from './test-rig.ts'

let directKernel: { kernel: string; initrd: string; commandLine: string }
beforeAll(async () => {
  const guest = await ensureDeviceGuest()
  mkdirSync(imageDir, { recursive: true, mode: 0o755 })
  chmodSync(imageDir, 0o755)
  directKernel = { ...guest, kernel: join(imageDir, 'vmlinuz'), initrd: join(imageDir, 'initrd') }
  for (const name of ['kernel', 'initrd'] as const) {
    copyFileSync(guest[name], directKernel[name])
    chmodSync(directKernel[name], 0o644)
  }
})

async function done(job: Job): Promise<string> {
  const last = await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    120_000,
  )
  if (last.state !== 'done') throw new Error(`${last.state}: ${last.error?.message}`)
  return last.result ?? ''
}
const take = async (id: string, input: object) =>
  done(await now.engine.snapshots.create(ADMIN, id, SnapshotInput.parse(input)))
const goBack = async (id: string, snapshotId: string, input: object = {}) =>
  done(await now.engine.snapshots.revert(ADMIN, id, snapshotId, SnapshotRevertInput.parse(input)))
async function shellOf(id: string): Promise<GuestShell> {
  const hub = now.supervisor.serialHub(id)
  if (hub === null) throw new Error('no serial line')
  return GuestShell.over(new HubLine(hub), 180_000)
}

/** Of nobody: under UEFI's own the firmware takes only names it knows. */
const GUID = 'a1b2c3d4-1111-4222-8333-444455556666'
/** Sets a variable that outlives the machine (attributes 7: kept, for boot and running). */
const setVariable = (name: string) => `printf '\\007\\000\\000\\000${name}' >/sys/firmware/efi/efivars/${name}-${GUID}`
/** TPM2_NV_DefineSpace of 8 bytes by the owner, whose password is empty (TPM 2.0 part 3, 31.3). */
const defineSpace = (index: number) => {
  const command = Buffer.from(
    `80020000002d0000012a4000000100000009400000090000000000` +
      `0000000e0150${index.toString(16).padStart(4, '0')}000b0206000600000008`,
    'hex',
  )
  const octal = [...command].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
  // One write is one command, one read its answer; bytes 6 to 9 are what became of it.
  return `exec 3<>/dev/tpm0; printf '${octal}' >&3; dd bs=4096 count=1 <&3 2>/dev/null | hexdump -v -e '/1 "%02x"'; exec 3>&-`
}
const DEFINED = /^8002........00000000/
const EXISTS_ALREADY = /^8001........0000014c/

/** Names of variables in the flash, as a running QEMU has written it; UEFI's names are UCS-2. */
async function hasVariable(vmId: string, name: string): Promise<boolean> {
  // A QEMU that had no time to answer on a busy machine counts as silent for another two seconds.
  const { state } = await until(
    () => now.supervisor.runtime(vmId),
    ({ state }) => state === 'running' || state === 'off',
    60_000,
  )
  // What QEMU holds back of its file is written first.
  if (state === 'running')
    await now.supervisor.work(vmId, (guest) =>
      guest.ask('human-monitor-command', { 'command-line': `qemu-io ${QEMU_IDS.firmwareVars} flush` }),
    )
  const raw = join(data.root, 'raw-nvram')
  execFileSync('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'raw', data.nvram(vmId), raw])
  return readFileSync(raw).includes(Buffer.from(`${name}\0`, 'utf16le'))
}
const hashOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

test.runIf(existsSync('/usr/bin/swtpm'))(
  'variables and what the TPM learned after a snapshot are gone when the guest goes back to it, and what came before is there',
  async () => {
    const { id } = await create(ADMIN, {
      ...{ name: 'board', guest: 'linux', firmware: 'uefi', tpm: 'tpm-crb', memoryMiB: 384, directKernel },
      ...{ display: 'none', networks: [], disks: [{ device: 'disk', sizeGiB: 1 }] },
    })
    await now.engine.vms.start(ADMIN, id)
    const shell = await shellOf(id)
    await shell.output('modprobe efivarfs; mount -t efivarfs none /sys/firmware/efi/efivars')
    await shell.output(setVariable('Before'))
    expect(await shell.output(defineSpace(1))).toMatch(DEFINED)
    expect(await shell.output(defineSpace(1))).toMatch(EXISTS_ALREADY)

    // With memory: both are inside it.
    const memory = await take(id, { name: 'memory', kind: 'memory' })
    await shell.output(setVariable('After'))
    expect(await shell.output(defineSpace(2))).toMatch(DEFINED)
    expect([await hasVariable(id, 'Before'), await hasVariable(id, 'After')]).toEqual([true, true])
    await goBack(id, memory)
    const back = await shellOf(id)
    expect([await hasVariable(id, 'Before'), await hasVariable(id, 'After')]).toEqual([true, false])
    expect(await back.output('ls /sys/firmware/efi/efivars')).not.toContain('After-')
    expect(await back.output(defineSpace(1))).toMatch(EXISTS_ALREADY)
    expect(await back.output(defineSpace(2))).toMatch(DEFINED)
    // Also by way of a new QEMU and a new chip, which start with what came after.
    await now.engine.vms.poweroff(ADMIN, id)
    await goBack(id, memory)
    const again = await shellOf(id)
    expect(await again.output('ls /sys/firmware/efi/efivars')).toContain('Before-')
    expect(await again.output(defineSpace(1))).toMatch(EXISTS_ALREADY)
    expect(await again.output(defineSpace(2))).toMatch(DEFINED)
    // The variables hold it inside their file, so nothing may put another in its place.
    await now.engine.vms.poweroff(ADMIN, id)
    await expect(now.engine.vms.resetFirmware(ADMIN, id)).rejects.toMatchObject({ code: 'wrong_state' })
    await goBack(id, memory)
    await done(await now.engine.snapshots.delete(ADMIN, id, memory))

    // Of disks alone, running: copied beside them, in the same moment.
    const shellNow = await shellOf(id)
    const disk = await take(id, { name: 'disk', kind: 'disk' })
    const state = join(data.tpmDir(id), 'tpm2-00.permall')
    const then = hashOf(state)
    await shellNow.output(setVariable('Later'))
    expect(await shellNow.output(defineSpace(3))).toMatch(DEFINED)
    expect(await hasVariable(id, 'Later')).toBe(true)
    expect(hashOf(state)).not.toBe(then)
    await goBack(id, disk)
    expect([await hasVariable(id, 'Before'), await hasVariable(id, 'Later')]).toEqual([true, false])
    expect(hashOf(state)).toBe(then)
    expect((await now.engine.vms.view(ADMIN, id)).state).toBe('off')

    // Off: both are lost since.
    const off = await take(id, { name: 'off', kind: 'disk' })
    await now.engine.vms.resetFirmware(ADMIN, id)
    expect(await hasVariable(id, 'Before')).toBe(false)
    writeFileSync(state, '')
    await goBack(id, off)
    expect(await hasVariable(id, 'Before')).toBe(true)
    expect(hashOf(state)).toBe(then)
    // The chip starts with it.
    await goBack(id, disk, { start: true })
    expect((await now.engine.vms.view(ADMIN, id)).state).toBe('running')
    await now.engine.vms.poweroff(ADMIN, id)
    for (const snapshot of [off, disk]) await done(await now.engine.snapshots.delete(ADMIN, id, snapshot))
  },
  900_000,
)
