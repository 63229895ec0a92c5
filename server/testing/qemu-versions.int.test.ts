import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { ensureHaltRom } from '#e2e/guests/build.ts'
import { PlainQemu } from '#e2e/guests/plain-qemu.ts'
import { isGone, known, started } from '#server/vm/testing/harness.ts'
import { openLab } from '#server/vm/testing/lab.ts'
import { ensureQemu, QEMU_VERSIONS, type UnpackedQemu } from './qemu-versions.ts'

const DOWNLOAD_TIMEOUT_MS = 600_000

describe.each(QEMU_VERSIONS)('QEMU %s out of the cache', (wanted) => {
  let qemu: UnpackedQemu
  beforeAll(async () => {
    // At once, as test workers do.
    const [one, other] = await Promise.all([ensureQemu(wanted), ensureQemu(wanted)])
    expect(other).toEqual(one)
    qemu = one
  }, DOWNLOAD_TIMEOUT_MS)

  it('greets with its version over QMP, and runs firmware', async () => {
    const guest = PlainQemu.start(['-bios', ensureHaltRom()], 16, qemu.binary)
    try {
      const line = await guest.connect('qmp')
      const [greeting] = await line.expect(/^\{"QMP".*$/m, 20_000)
      const { major, minor, micro } = JSON.parse(greeting).QMP.version.qemu
      expect(`${major}.${minor}.${micro}`).toBe(qemu.version)
      expect(major).toBe(Math.trunc(Number(wanted)))
      line.close()
      const registers = async () =>
        JSON.stringify(
          await guest.qmp({ execute: 'human-monitor-command', arguments: { 'command-line': 'info registers' } }),
        )
      await expect.poll(registers, { timeout: 20_000 }).toMatch(/EIP=0000fff[12] .*HLT=1/)
    } finally {
      await guest.stop()
    }
  })

  it('has modules of its own for what is loaded on demand', async () => {
    const guest = PlainQemu.start(
      ['-bios', ensureHaltRom(), '-device', 'virtio-vga', '-device', 'qxl'],
      16,
      qemu.binary,
    )
    try {
      const [reply] = (await guest.qmp({ execute: 'qom-list-types' })) as { return: { name: string }[] }[]
      const names = reply?.return.map(({ name }) => name)
      expect(names).toEqual(
        expect.arrayContaining(['virtio-vga-gl', 'qxl-vga', 'usb-host', 'usb-redir', 'ccid-card-emulated']),
      )
    } finally {
      await guest.stop()
    }
  })

  it('is started, found again and ended by the supervisor as an installed one is', async () => {
    const lab = await openLab()
    try {
      const { s, vmId, pid } = await started(lab, { binary: qemu.binary })
      expect(readFileSync(`/proc/${pid}/comm`, 'utf8')).not.toContain('sh')
      await s.detach()
      const next = lab.supervisor()
      expect(await next.adoptAll(known(vmId))).toMatchObject({ adopted: [vmId], unmanageable: [] })
      expect(next.runtime(vmId)).toMatchObject({ state: 'running', live: { pid } })
      await next.poweroff(vmId, 'ann')
      expect(isGone(pid)).toBe(true)
    } finally {
      await lab.close()
    }
  })

  it.runIf(process.getuid?.() === 0)('may be run by the users of guests, and so may its qemu-img', () => {
    for (const program of [qemu.binary, qemu.qemuImg]) {
      expect(execFileSync(program, ['--version'], { uid: 65534, gid: 65534, cwd: '/', encoding: 'utf8' })).toContain(
        `version ${qemu.version}`,
      )
    }
  })
})
