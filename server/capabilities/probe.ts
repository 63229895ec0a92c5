/**
 * What the installed QEMU can do, asked once per binary and remembered.
 *
 * The answer is kept in memory and in a JSON file. It is asked again when the binary (path, size, mtime) or its module
 * directory changed, after a reboot, or when access to KVM appeared or went: each changes what QEMU answers.
 * Firmware is looked up every time: it comes from other packages and costs next to nothing.
 */
import { statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { type ChildUser, findExecutable } from '#server/platform/child.ts'
import { readBootId, replaceFile } from '#server/platform/fs.ts'
import { askQemu } from './ask.ts'
import { assembleCapabilities, type BinaryCapabilities } from './assemble.ts'
import { createFirmwareFinder, type UefiFirmware } from './firmware.ts'
import type { QemuCapabilities } from './types.ts'

/** Grows with every change of what is asked or how answers are read, so that an older cache is not believed. */
const CACHE_FORMAT = 1

/** Where distributions put QEMU's loadable modules; a package that adds one (displays, block drivers) changes the answers. */
const MODULE_DIRS = ['/usr/lib/x86_64-linux-gnu/qemu', '/usr/lib64/qemu-kvm', '/usr/lib64/qemu', '/usr/lib/qemu']

export interface CapabilitiesProbeOptions {
  /** Path of the system emulator, or a name to look up in PATH. */
  readonly binary: string
  /** JSON file the answer is kept in; null keeps it in memory alone. */
  readonly cacheFile: string | null
  /** User QEMU runs as; null when it shares ours. */
  readonly user?: ChildUser | null
  /** Whether `/dev/kvm` opens for that user; asked each time. */
  readonly kvmOpens?: () => boolean
  /** Where the UEFI firmware lies; the default searches this host. */
  readonly findFirmware?: () => UefiFirmware | null
}

export interface CapabilitiesProbe {
  /**
   * Never older than the binary that lies there now. Callers at the same time share one probe, 0.1 s on an idle host.
   * @throws EngineError launch_failed when QEMU is missing or does not work; the signal's reason
   */
  get(options?: { signal?: AbortSignal }): Promise<QemuCapabilities>
}

interface Remembered {
  readonly key: string
  readonly capabilities: BinaryCapabilities
}

export function createCapabilitiesProbe(options: CapabilitiesProbeOptions): CapabilitiesProbe {
  const findFirmware = options.findFirmware ?? createFirmwareFinder()
  let remembered: Remembered | null = null
  let running: { readonly key: string; readonly result: Promise<BinaryCapabilities> } | null = null
  let latest: QemuCapabilities | null = null

  const ask = async (binary: string, key: string, kvmOpens: boolean): Promise<BinaryCapabilities> => {
    const cached = await readCache(options.cacheFile, key)
    const capabilities = cached ?? (await probe(binary, options.user ?? null, kvmOpens))
    remembered = { key, capabilities }
    if (cached === null) await writeCache(options.cacheFile, remembered)
    return capabilities
  }

  const current = async (signal: AbortSignal | undefined): Promise<BinaryCapabilities> => {
    const binary = findExecutable(options.binary)
    if (binary === null) throw missingQemu(options.binary)
    const kvmOpens = options.kvmOpens?.() ?? false
    const key = describeBinary(binary, kvmOpens)
    if (remembered?.key === key) return remembered.capabilities
    if (running?.key !== key) {
      const result = ask(binary, key, kvmOpens)
      const mine = { key, result }
      running = mine
      const forget = () => {
        if (running === mine) running = null
      }
      result.then(forget, forget)
    }
    return orAbort(running.result, signal)
  }

  return {
    async get({ signal } = {}) {
      signal?.throwIfAborted()
      const capabilities = await current(signal)
      const uefi = findFirmware()
      // The same object as long as nothing changed: callers may compare by identity.
      if (latest === null || latest.machines !== capabilities.machines || !sameFirmware(latest.uefi, uefi)) {
        latest = { ...capabilities, uefi }
      }
      return latest
    },
  }
}

async function probe(binary: string, user: ChildUser | null, kvmOpens: boolean): Promise<BinaryCapabilities> {
  try {
    return assembleCapabilities(binary, await askQemu({ binary, user, kvmOpens }))
  } catch (error) {
    throw new EngineError(
      'launch_failed',
      `The installed QEMU (${basename(binary)}) could not be asked what it can do. It may be broken or too old: version 7.2 or newer is needed. Reinstall it and look at the Host page.`,
      { cause: error },
    )
  }
}

function missingQemu(name: string): EngineError {
  return new EngineError(
    'launch_failed',
    `QEMU is missing: there is no program ${basename(name)} on this host. Install it (on Debian: apt install qemu-system-x86) or point GUESTDECK_QEMU at it. The Host page has the command.`,
    { details: { missing: 'qemu' } },
  )
}

function describeBinary(binary: string, kvmOpens: boolean): string {
  const stamp = (path: string) => {
    const facts = statSync(path, { throwIfNoEntry: false, bigint: true })
    return facts === undefined ? null : `${facts.size}/${facts.mtimeNs}`
  }
  const modules = MODULE_DIRS.map((dir) => stamp(dir)).filter((found) => found !== null)
  return JSON.stringify([CACHE_FORMAT, binary, stamp(binary), modules, kvmOpens, readBootId()])
}

function sameFirmware(a: UefiFirmware | null, b: UefiFirmware | null): boolean {
  return a?.code === b?.code && a?.vars === b?.vars && a?.format === b?.format
}

function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

const strings = z.array(z.string())
const Cache = z.object({
  key: z.string(),
  capabilities: z.object({
    binary: z.string(),
    version: z.string(),
    package: z.string(),
    machines: z.array(
      z.object({
        name: z.string(),
        alias: z.string().nullable(),
        isDefault: z.boolean(),
        deprecated: z.boolean(),
        maxCpus: z.int(),
        defaultCpuType: z.string().nullable(),
      }),
    ),
    cpuModels: z.array(
      z.object({
        name: z.string(),
        deprecated: z.boolean(),
        unavailableFeatures: strings,
        unavailableUnderTcg: strings,
      }),
    ),
    types: strings,
    deviceProperties: z.record(
      z.string(),
      z.array(
        z.object({
          name: z.string(),
          type: z.string(),
          description: z.string().nullable(),
          default: z.union([z.string(), z.number(), z.boolean()]).nullable(),
        }),
      ),
    ),
    commands: strings,
    events: strings,
    features: z.object({
      runWith: z.boolean(),
      jobDismiss: z.boolean(),
      queryAccelerators: z.boolean(),
      netdevStream: z.boolean(),
      chardevReconnectMs: z.boolean(),
      screendumpPng: z.boolean(),
      displayReload: z.boolean(),
    }),
    accelerators: z.array(z.enum(['kvm', 'tcg'])),
    seccomp: z.boolean(),
  }),
})

/** Null when there is none, it is damaged, or it is about something else: a cache is never worth an error. */
async function readCache(file: string | null, key: string): Promise<BinaryCapabilities | null> {
  if (file === null) return null
  try {
    const parsed = Cache.safeParse(JSON.parse(await readFile(file, 'utf8')))
    return parsed.success && parsed.data.key === key ? parsed.data.capabilities : null
  } catch {
    return null
  }
}

async function writeCache(file: string | null, remembered: Remembered): Promise<void> {
  if (file === null) return
  try {
    await replaceFile(file, JSON.stringify(remembered))
  } catch (error) {
    process.emitWarning(`The capabilities of QEMU could not be kept in a file: ${String(error)}`)
  }
}
