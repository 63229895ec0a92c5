/**
 * What is on a disk or disc that somebody brought: its operating system and how it starts. Reads a few MiB at most;
 * whatever is damaged or made to harm ends as "not known".
 */
import { type BootMode, discBootModes } from './el-torito.ts'
import { isUsable } from './ext.ts'
import { walk } from './names.ts'
import {
  type Architecture,
  efiArchitecture,
  elfArchitecture,
  type OsFacts,
  osOfLabel,
  parseDiskInfo,
  parseOsRelease,
  parseTreeInfo,
  vendorOs,
} from './os-facts.ts'
import { BIOS_BOOT_TYPE, ESP_TYPES, type Partition, partitionBytes, readPartitions } from './partitions.ts'
import { openFileSystem, recognise } from './recognise.ts'
import { type Bytes, type FileSystem, type FsNode, Unreadable } from './types.ts'

export interface Detected {
  readonly os: OsFacts | null
  /** How the firmware can start it; empty: in no way that is known. */
  readonly bootModes: readonly BootMode[]
  /** Whether cloud-init is installed; null: not known. */
  readonly cloudInit: boolean | null
}

const NOTHING: Detected = { os: null, bootModes: [], cloudInit: null }
/** Of the files looked into. */
const MAX_TEXT_BYTES = 16 * 1024
/** Of a disk with more, only the first are looked at. */
const MAX_PARTITIONS = 16

/** @throws the reader's own error; never for what the disk says */
export async function detect(bytes: Bytes, kind: 'iso' | 'disk'): Promise<Detected> {
  return (await tolerant(() => (kind === 'iso' ? detectDisc(bytes) : detectDisk(bytes)))) ?? NOTHING
}

/** What is unreadable is not known; anything else went wrong here. */
async function tolerant<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof Unreadable || error instanceof RangeError) return null
    throw error
  }
}

async function find(root: FsNode, path: string): Promise<FsNode | null> {
  return tolerant(() =>
    walk(
      root,
      path.split('/').map((step) => Buffer.from(step)),
    ),
  )
}

async function textOf(root: FsNode, path: string): Promise<string | null> {
  const node = await find(root, path)
  if (node === null || node.type !== 'file' || node.sizeBytes > MAX_TEXT_BYTES) return null
  return tolerant(async () => (await node.read(0, MAX_TEXT_BYTES)).toString('utf8'))
}

async function namesIn(root: FsNode, path: readonly string[]): Promise<string[]> {
  // FAT keeps names in any case.
  let node = root
  for (const step of path) {
    const entry = (await tolerant(() => node.list()))?.entries.find(
      ({ name }) => name.toString('latin1').toLowerCase() === step,
    )
    const next = entry === undefined ? null : await tolerant(() => entry.open())
    if (next?.type !== 'directory') return []
    node = next
  }
  const listing = await tolerant(() => node.list())
  return listing?.entries.filter(({ name }) => isUsable(name)).map(({ name }) => name.toString('latin1')) ?? []
}

async function detectDisc(bytes: Bytes): Promise<Detected> {
  const bootModes = await discBootModes(bytes)
  const disc = await tolerant(() => openFileSystem(bytes, 'iso9660'))
  if (disc === null) return { ...NOTHING, bootModes }
  const [info, tree, loaders, top] = [
    await textOf(disc.root, '.disk/info'),
    await textOf(disc.root, '.treeinfo'),
    await namesIn(disc.root, ['efi', 'boot']),
    await namesIn(disc.root, []),
  ]
  const byLabel = disc.label === null ? null : osOfLabel(disc.label)
  const has = (name: string) => top.some((one) => one.toLowerCase() === name)
  const windows: OsFacts | null =
    has('bootmgr') && has('sources') ? { id: 'windows', name: 'Windows', version: null, architecture: null } : null
  const os =
    (info === null ? null : parseDiskInfo(info)) ?? (tree === null ? null : parseTreeInfo(tree)) ?? byLabel ?? windows
  const architecture = os?.architecture ?? byLabel?.architecture ?? oneOf(loaders.map(efiArchitecture))
  return { os: os === null ? null : { ...os, architecture }, bootModes, cloudInit: null }
}

/** The one that is there; null when there is none, or several. */
function oneOf(found: readonly (Architecture | null)[]): Architecture | null {
  const known = new Set(found.filter((one) => one !== null))
  const [first] = known
  return known.size === 1 && first !== undefined ? first : null
}

async function detectDisk(bytes: Bytes): Promise<Detected> {
  const table = await readPartitions(bytes)
  const whole: Partition = { number: 0, offset: 0, sizeBytes: bytes.sizeBytes, type: '', name: null }
  const parts = table.kind === 'none' ? [whole] : table.partitions.slice(0, MAX_PARTITIONS)
  let os: OsFacts | null = null
  let vendor: OsFacts | null = null
  let cloudInit: boolean | null = null
  let loaders: (Architecture | null)[] = []
  let isUefi = false
  let hasNtfs = false
  for (const one of parts) {
    const area = partitionBytes(bytes, one)
    const name = await recognise(area)
    if (name === 'ntfs' || name === 'bitlocker') hasNtfs = true
    if (name === 'ufs' && os === null) os = { id: 'freebsd', name: 'FreeBSD', version: null, architecture: null }
    const fs = await tolerant(() => openFileSystem(area, name))
    if (fs === null) continue
    if (ESP_TYPES.has(one.type)) {
      const found = (await namesIn(fs.root, ['efi', 'boot'])).map(efiArchitecture).filter((each) => each !== null)
      loaders = [...loaders, ...found]
      const vendors = await namesIn(fs.root, ['efi'])
      vendor ??= vendorOs(vendors)
      isUefi ||= found.length > 0 || vendors.some((folder) => folder.toLowerCase() !== 'boot')
    }
    const system = fs.kind === 'fat' || fs.kind === 'iso9660' ? null : await systemOn(fs)
    if (system !== null && os === null) ({ os, cloudInit } = system)
  }
  os ??= vendor ?? (hasNtfs ? { id: 'windows', name: 'Windows', version: null, architecture: null } : null)
  const hasBiosPartition = parts.some(({ type }) => type === BIOS_BOOT_TYPE)
  const isBios = table.kind === 'gpt' ? hasBiosPartition : table.hasBootCode
  return {
    os: os === null ? null : { ...os, architecture: os.architecture ?? oneOf(loaders) },
    bootModes: [...(isBios ? (['bios'] as const) : []), ...(isUefi ? (['uefi'] as const) : [])],
    cloudInit,
  }
}

/** Programs that nearly every system has, whose header tells the machine. The links of old paths are not followed. */
const PROGRAMS = ['usr/bin/env', 'usr/lib/systemd/systemd', 'bin/busybox', 'bin/sh', 'sbin/init', 'usr/bin/bash']

async function systemOn({ root }: FileSystem): Promise<{ os: OsFacts; cloudInit: boolean } | null> {
  // `/etc/os-release` is mostly a link to the first, and links are not followed.
  const text = (await textOf(root, 'usr/lib/os-release')) ?? (await textOf(root, 'etc/os-release'))
  const os = text === null ? null : parseOsRelease(text)
  if (os === null) return null
  let architecture: Architecture | null = null
  for (const program of PROGRAMS) {
    const node = await find(root, program)
    if (node?.type !== 'file') continue
    const head = await tolerant(() => node.read(0, 64))
    architecture = head === null ? null : elfArchitecture(head)
    if (architecture !== null) break
  }
  return { os: { ...os, architecture }, cloudInit: (await find(root, 'etc/cloud/cloud.cfg')) !== null }
}
