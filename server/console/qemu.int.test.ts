import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { CLOSE } from '#lib/console/close-codes.ts'
import { createSerialHub } from './serial-hub.ts'
import { closed, keyMessage, type Rig, rfbConnect, startRig, until } from './test-rig.ts'

const QEMU = process.env.GUESTDECK_QEMU ?? '/usr/bin/qemu-system-x86_64'

/** Reads keys with the BIOS (int 16h), sends each to COM1 and shows it on the screen (int 10h), for ever. */
const ECHO = [0xb4, 0x00, 0xcd, 0x16, 0xba, 0xf8, 0x03, 0xee, 0xb4, 0x0e, 0xcd, 0x10, 0xeb, 0xf2]
/** Fills the screen with one changing character after the other, for ever. */
const DRAW = [0xb4, 0x0e, 0xfe, 0xc0, 0x0c, 0x20, 0xcd, 0x10, 0xeb, 0xf6]

function bootDisk(code: readonly number[]): Buffer {
  // SeaBIOS does not boot a disk of a single sector.
  const sector = Buffer.alloc(1 << 20)
  sector.set(code)
  sector.set([0x55, 0xaa], 510)
  return sector
}

interface Guest extends AsyncDisposable {
  readonly rig: Rig
  readonly process: ChildProcess
}

/** A real guest under TCG that boots one sector, its screen on `rig.vnc`, COM1 on `rig.hub`. */
async function bootGuest(code: readonly number[]): Promise<Guest> {
  const rig = await startRig()
  const disk = `${rig.dir}/disk`
  await writeFile(disk, bootDisk(code))
  const qemu = spawn(
    QEMU,
    [
      '-no-user-config -nodefaults -display none -machine q35,accel=tcg -m 32',
      '-device VGA -device qemu-xhci -device usb-kbd',
      `-vnc unix:${rig.dir}/vnc,share=ignore`,
      `-chardev socket,id=ser0,path=${rig.dir}/ser,server=on,wait=off -serial chardev:ser0`,
      `-drive if=ide,format=raw,file=${disk}`,
    ].flatMap((part) => part.split(' ')),
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  await until(() => existsSync(`${rig.dir}/vnc`) && existsSync(`${rig.dir}/ser`), 'QEMU listens', 30_000)
  rig.vnc = `${rig.dir}/vnc`
  const hub = createSerialHub(`${rig.dir}/ser`)
  rig.hub = hub
  expect(await hub.ready).toBe(true)
  return {
    rig,
    process: qemu,
    async [Symbol.asyncDispose]() {
      if (qemu.exitCode === null && qemu.signalCode === null) {
        qemu.kill('SIGKILL')
        await once(qemu, 'exit')
      }
      await rig[Symbol.asyncDispose]()
    },
  }
}

const serialText = (rig: Rig) => Buffer.from(rig.hub?.history().head ?? []).toString('latin1')
const isLit = (pixels: Buffer) => pixels.some((byte) => byte !== 0)

describe('consoles of a real QEMU', () => {
  test('the firmware’s screen arrives through the proxy', async () => {
    await using guest = await bootGuest(ECHO)
    const screen = await rfbConnect(guest.rig.open('vnc', 'view'))
    expect([screen.width, screen.height]).toEqual([expect.any(Number), expect.any(Number)])
    let pixels = await screen.update(false)
    for (const deadline = performance.now() + 30_000; !isLit(pixels) && performance.now() < deadline; ) {
      pixels = await screen.update(true)
    }
    expect(isLit(pixels)).toBe(true)
  })

  test('a view-only viewer’s keys never reach the guest, a controlling one’s do, and both share the screen (R02, R04)', async () => {
    await using guest = await bootGuest(ECHO)
    const viewWs = guest.rig.open('vnc', 'view')
    const view = await rfbConnect(viewWs)
    // Exclusive on purpose: without the proxy QEMU would be asked to throw the other out.
    const controlWs = guest.rig.open('vnc', 'control')
    const control = await rfbConnect(controlWs, 0)
    const press = (screen: typeof view, keysym: number) => {
      screen.send(keyMessage(keysym, true))
      screen.send(keyMessage(keysym, false))
    }
    // Until the boot sector reads keys, what is typed is lost or queued by the BIOS.
    for (const deadline = performance.now() + 60_000; !serialText(guest.rig).includes('c'); ) {
      press(view, 0x76)
      press(control, 0x63)
      await sleep(300)
      if (performance.now() > deadline) throw new Error('the guest never answered')
    }
    for (const character of 'hello') {
      press(view, 0x76)
      press(control, character.charCodeAt(0))
      await sleep(60)
    }
    await until(() => serialText(guest.rig).includes('hello'), 'the guest echoed')
    expect(serialText(guest.rig)).not.toContain('v')
    expect(viewWs.readyState).toBe(viewWs.OPEN)
    // QEMU's answer to the view-only one still comes.
    expect((await view.update(false)).length).toBeGreaterThan(0)
  })

  test('a viewer that never reads does not disturb the other', async () => {
    await using guest = await bootGuest(DRAW)
    const other = await rfbConnect(guest.rig.open('vnc', 'view'))
    const updates = async (ms: number) => {
      let n = 0
      for (const end = performance.now() + ms; performance.now() < end; n++) await other.update(true)
      return n
    }
    // Wait until the boot sector draws.
    await updates(3000)
    const alone = await updates(3000)
    const stuckWs = guest.rig.open('vnc', 'view')
    const stuck = await rfbConnect(stuckWs)
    stuckWs.pause()
    for (let i = 0; i < 200; i++) {
      const request = Buffer.of(3, 0, 0, 0, 0, 0, 2, 0xd0, 1, 0x90)
      stuck.send(request)
    }
    // The host may be busy with something else for a moment; a viewer that is held up stays held up.
    let together = 0
    for (let round = 0; round < 4 && together <= Math.max(3, alone / 3); round++) together = await updates(3000)
    expect(together).toBeGreaterThan(alone / 3)
    expect(together).toBeGreaterThan(3)
  })

  test('the end of QEMU closes its consoles as ended', async () => {
    await using guest = await bootGuest(ECHO)
    const screen = guest.rig.open('vnc', 'control')
    const serial = guest.rig.open('serial', 'control')
    await rfbConnect(screen)
    await until(() => serial.readyState === serial.OPEN, 'the serial console is open')
    guest.process.kill('SIGKILL')
    expect(await Promise.all([closed(screen), closed(serial)])).toEqual([CLOSE.ended, CLOSE.ended])
  })

  test('what is typed into the serial console of a real UART arrives, and its echo comes back', async () => {
    // Reads COM1 (polling the line status) and writes every byte back.
    const uart = [0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xf1]
    await using guest = await bootGuest(uart)
    const ws = guest.rig.open('serial', 'control')
    let text = ''
    ws.on('message', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    await once(ws, 'open')
    for (const deadline = performance.now() + 60_000; !text.includes('?'); await sleep(200)) {
      ws.send(Buffer.from('?'))
      if (performance.now() > deadline) throw new Error('the guest never answered')
    }
    const line = 'the quick brown fox jumps over the lazy dog 0123456789'
    ws.send(Buffer.from(line))
    await until(() => text.includes(line), 'the echo came back')
  })
})
