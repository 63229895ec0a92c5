/** Mainboard, firmware, CPU and memory. */
import * as z from 'zod'
import { DeviceId, HostPath, NumberList } from './common.ts'

export const Firmware = z.enum(['bios', 'uefi']).meta({ id: 'Firmware' })
export type Firmware = z.output<typeof Firmware>

/** Versioned q35 or pc (i440fx) machine type, decided once at creation, or `microvm`, which has no versions. */
export const MachineName = z.string().regex(/^(pc-(q35|i440fx)-[0-9]+\.[0-9]+(\.[0-9]+)?|microvm)$/)

/** What create and change take: `q35` and `pc` stand for the newest version this QEMU has. */
export const MachineInput = z.union([MachineName, z.enum(['q35', 'pc'])])

/** Model of the emulated TPM 2.0 (swtpm); `tpm-crb` is what current systems expect. */
export const Tpm = z.enum(['none', 'tpm-crb', 'tpm-tis'])

const SmbiosText = z
  .string()
  .max(128)
  .regex(/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u, 'printable characters only')
  .nullable()

/** What the guest's firmware says about its maker (SMBIOS type 1), and free strings (type 11). Null: QEMU's own. */
export const Smbios = z.strictObject({
  manufacturer: SmbiosText,
  product: SmbiosText,
  version: SmbiosText,
  serial: SmbiosText,
  sku: SmbiosText,
  family: SmbiosText,
  oemStrings: z.array(SmbiosText.unwrap().min(1)).max(16),
})

/** Kernel started without boot loader; files on the host, named by an administrator. */
export const DirectKernel = z.strictObject({
  kernel: HostPath,
  initrd: HostPath.nullable(),
  commandLine: z
    .string()
    .max(2048)
    .regex(/^[\x20-\x7e]*$/, 'printable ASCII'),
})

export const CpuTopology = z.strictObject({
  sockets: z.int().min(1).max(64),
  cores: z.int().min(1).max(255),
  threads: z.int().min(1).max(8),
})

/** One CPU feature switched on or off against the model. Names as QEMU's, for example `avx2`. */
export const CpuFlag = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,47}$/),
  enabled: z.boolean(),
})

/** Virtual CPU (by number) bound to host CPUs. */
export const CpuPin = z.strictObject({ vcpu: z.int().min(0).max(254), hostCpus: NumberList })

/** Node of the guest's NUMA topology; the memory of all nodes adds up to `memoryMiB`, the CPUs to `maxCpus`. */
export const NumaNode = z.strictObject({
  cpus: NumberList,
  memoryMiB: z.int().min(16).max(16_777_216),
  /** Host nodes the memory is taken from; null: wherever. */
  hostNodes: NumberList.nullable(),
})

/** Memory module that can be plugged and, when the guest lets go of it, unplugged. */
export const Dimm = z.strictObject({ id: DeviceId, sizeMiB: z.int().min(128).max(1_048_576).multipleOf(128) })
export type Dimm = z.output<typeof Dimm>

/** One virtio-mem device: `requestedMiB` moves freely between 0 and `sizeMiB` while the guest runs. */
export const VirtioMem = z.strictObject({
  sizeMiB: z.int().min(128).max(16_777_216).multipleOf(128),
  requestedMiB: z.int().min(0).max(16_777_216),
})
