/**
 * What the installed QEMU can do, asked once per binary and remembered.
 *
 * The answer is kept in memory and in a JSON file. It is asked again when the binary (path, size, mtime) or its module
 * directory changed, after a reboot, or when access to KVM appeared or went: each changes what QEMU answers.
 * Firmware is looked up every time: it comes from other packages and costs next to nothing. Programs beside QEMU are
 * looked up again after a while, because each is started to tell its version.
 */
import { statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { type ChildUser, findExecutable } from '#server/platform/child.ts'
import { readBootId, replaceFile } from '#server/platform/fs.ts'
import { askProperties, askQemu } from './ask.ts'
import { assembleCapabilities, type BinaryCapabilities } from './assemble.ts'
import { createFirmwareFinder, type FoundFirmware } from './firmware.ts'
import { createToolFinder, findMicrovmFirmware, findVirtioWinIso } from './host-tools.ts'
import { readProperties } from './properties.ts'
import type { DeviceProperty, HostTools, QemuCapabilities } from './types.ts'
import { knownProperties } from './view.ts'

/** Grows with every change of what is asked or how answers are read, so that an older cache is not believed. */
const CACHE_FORMAT = 2

/** Where distributions put QEMU's loadable modules; a package that adds one (displays, block drivers) changes the answers. */
const MODULE_DIRS = ['/usr/lib/x86_64-linux-gnu/qemu', '/usr/lib64/qemu-kvm', '/usr/lib64/qemu', '/usr/lib/qemu']

/** A tool installed meanwhile is noticed after this. */
const TOOLS_AGE_MS = 15_000

const TYPE_TIMEOUT_MS = 10_000

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
  readonly findFirmware?: () => FoundFirmware
  /** Programs beside QEMU; the default searches this host. */
  readonly findTools?: () => Promise<HostTools>
  /** Milliseconds after which they are looked up again. */
  readonly toolsAgeMs?: number
}

export interface CapabilitiesProbe {
  /**
   * Never older than the binary that lies there now. Callers at the same time share one probe, a third of a second on
   * an idle host.
   * @throws EngineError launch_failed when QEMU is missing or does not work; the signal's reason
   */
  get(options?: { signal?: AbortSignal }): Promise<QemuCapabilities>
  /**
   * Properties of any device, object, machine (`q35`, `pc`, `microvm`) or `cpu`; null for a type this QEMU lacks or cannot
   * tell about. Most are known; the rest are asked of a throw-away QEMU and kept.
   * @throws EngineError launch_failed
   */
  properties(type: string): Promise<readonly DeviceProperty[] | null>
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
  let asked: {
    readonly of: BinaryCapabilities | null
    readonly types: Map<string, Promise<readonly DeviceProperty[] | null>>
  } = { of: null, types: new Map() }

  const ask = async (binary: string, key: string, kvmOpens: boolean): Promise<BinaryCapabilities> => {
    const cached = await readCache(options.cacheFile, key)
    const capabilities = cached ?? (await probe(binary, options.user ?? null, kvmOpens))
    remembered = { key, capabilities }
    if (cached === null) await writeCache(options.cacheFile, remembered)
    return capabilities
  }

  const bootId = readBootId()

  const current = async (signal: AbortSignal | undefined): Promise<BinaryCapabilities> => {
    const binary = findExecutable(options.binary)
    if (binary === null) throw missingQemu(options.binary)
    const kvmOpens = options.kvmOpens?.() ?? false
    const key = describeBinary(binary, kvmOpens, bootId)
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

  const inTurn = oneAtATime()
  const properties = async (type: string): Promise<readonly DeviceProperty[] | null> => {
    const capabilities = await current(undefined)
    const known = knownProperties(capabilities, type)
    if (known !== null) return known
    const isObject = capabilities.objectTypes.includes(type)
    if (!isObject && !capabilities.types.includes(type)) return null
    if (asked.of !== capabilities) asked = { of: capabilities, types: new Map() }
    const answer =
      asked.types.get(type) ?? inTurn(() => askAbout(capabilities.binary, type, isObject, options.user ?? null))
    asked.types.set(type, answer)
    // A failure to start QEMU is no answer about the type.
    answer.catch(() => asked.types.delete(type))
    return answer
  }

  const tools = keepFor(options.toolsAgeMs ?? TOOLS_AGE_MS, options.findTools ?? createToolFinder())

  return {
    async get({ signal } = {}) {
      signal?.throwIfAborted()
      const [capabilities, foundTools] = await Promise.all([current(signal), orAbort(tools(), signal)])
      const now: QemuCapabilities = {
        ...capabilities,
        ...findFirmware(),
        microvmFirmware: findMicrovmFirmware(capabilities.dataDirs),
        tools: foundTools,
        virtioWinIso: findVirtioWinIso(),
      }
      // The same object as long as nothing changed: callers may compare by identity.
      if (latest === null || !isSame(latest, now)) latest = now
      return latest
    },
    properties,
  }
}

/** What of QEMU is the same object is unchanged; what is looked up each time is compared by content. */
function isSame(a: QemuCapabilities, b: QemuCapabilities): boolean {
  const found = ({ uefi, secureBoot, microvmFirmware, tools, virtioWinIso }: QemuCapabilities) =>
    JSON.stringify([uefi, secureBoot, microvmFirmware, tools, virtioWinIso])
  return a.machines === b.machines && found(a) === found(b)
}

/**
 * Answers from memory and asks again beside that once the answer is older than `ageMs`, so that only the first caller
 * waits: a guest that starts must not wait for programs that tell their version.
 */
function keepFor<T>(ageMs: number, ask: () => Promise<T>): () => Promise<T> {
  let kept: { readonly answer: Promise<T>; readonly at: number } | null = null
  let asking = false
  return () => {
    if (kept === null) {
      kept = { answer: ask(), at: performance.now() }
    } else if (!asking && performance.now() - kept.at > ageMs) {
      asking = true
      const answer = ask()
      answer
        .then(() => {
          kept = { answer, at: performance.now() }
        })
        // The old answer stands until the next question.
        .catch(() => {})
        .finally(() => {
          asking = false
        })
    }
    return kept.answer
  }
}

/** One after the other, however many ask at once: each question is a QEMU. */
function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const mine = last.then(work, work)
    last = mine
    return mine
  }
}

async function probe(binary: string, user: ChildUser | null, kvmOpens: boolean): Promise<BinaryCapabilities> {
  try {
    return assembleCapabilities(binary, await askQemu({ binary, user, kvmOpens }))
  } catch (error) {
    throw cannotAsk(binary, error)
  }
}

function cannotAsk(binary: string, cause: unknown): EngineError {
  return new EngineError(
    'launch_failed',
    `The installed QEMU (${basename(binary)}) could not be asked what it can do. It may be broken or too old: version 7.2 or newer is needed. Reinstall it and look at the Host page.`,
    { cause },
  )
}

async function askAbout(
  binary: string,
  type: string,
  isObject: boolean,
  user: ChildUser | null,
): Promise<readonly DeviceProperty[] | null> {
  const command = isObject ? 'qom-list-properties' : 'device-list-properties'
  const process = { binary, user, accelerator: 'tcg', timeoutMs: TYPE_TIMEOUT_MS } as const
  try {
    const answers = await askProperties(process, [{ command, type }])
    return answers[type] === undefined ? null : readProperties(answers[type])
  } catch (error) {
    throw cannotAsk(binary, error)
  }
}

function missingQemu(name: string): EngineError {
  return new EngineError(
    'launch_failed',
    `QEMU is missing: there is no program ${basename(name)} on this host. Install it (on Debian: apt install qemu-system-x86) or point GUESTDECK_QEMU at it. The Host page has the command.`,
    { details: { missing: 'qemu' } },
  )
}

function describeBinary(binary: string, kvmOpens: boolean, bootId: string): string {
  const stamp = (path: string) => {
    const facts = statSync(path, { throwIfNoEntry: false, bigint: true })
    return facts === undefined ? null : `${facts.size}/${facts.mtimeNs}`
  }
  const modules = MODULE_DIRS.map((dir) => stamp(dir)).filter((found) => found !== null)
  return JSON.stringify([CACHE_FORMAT, binary, stamp(binary), modules, kvmOpens, bootId])
}

function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/**
 * The key says who wrote the file and when; what is inside is ours, written whole (`replaceFile`). Checked is that it is
 * a whole object of this format, not every one of some thousand properties.
 */
const Cache = z.object({
  key: z.string(),
  capabilities: z.custom<BinaryCapabilities>((value) => REQUIRED.safeParse(value).success),
})

const strings = z.array(z.string())
const REQUIRED = z.object({
  binary: z.string(),
  version: z.string(),
  package: z.string(),
  machines: z.array(z.object({ name: z.string() })),
  machineProperties: z.object({ q35: z.array(z.object({ name: z.string() })) }),
  cpuModels: z.array(z.object({ name: z.string(), typeName: z.string() })),
  cpuFlags: z.array(z.object({ name: z.string() })),
  cpuProperties: z.array(z.object({ name: z.string() })),
  types: strings,
  objectTypes: strings,
  deviceProperties: z.record(z.string(), z.array(z.object({ name: z.string() }))),
  commands: strings,
  events: strings,
  features: z.record(z.string(), z.boolean()),
  backends: z.record(z.string(), strings),
  accelerators: z.array(z.enum(['kvm', 'tcg'])),
  seccomp: z.boolean(),
  dataDirs: strings,
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
