/** Rules between VMs and against this host, which one definition alone cannot break. Synchronous: no gap to race in. */
import { totalmem } from 'node:os'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { EngineError } from './errors.ts'
import type { VmClaim } from './vm-records.ts'

export interface CheckContext {
  /** Listed VMs and those being created. */
  readonly others: Iterable<VmClaim>
  readonly ownerId: string
  /** The VM itself when it is being changed; null at creation. */
  readonly selfId: string | null
  readonly dashboardPort: number
  /** Whose names the caller may be told. */
  readonly canSee: (owner: { ownerId: string }) => boolean
}

/** Two names that a reader cannot tell apart count as the same. */
const fold = (name: string) => name.normalize('NFKC').toLowerCase()

/** @throws EngineError name_taken, port_in_use, conflict (MAC, vsock), bad_input (memory) with `field` */
export function checkAgainstOthers(spec: VmSpec, context: CheckContext): void {
  const hostMiB = Math.floor(totalmem() / 2 ** 20)
  if (spec.memoryMiB > hostMiB) {
    throw new EngineError('bad_input', `This host has ${hostMiB} MiB of memory in all; a guest cannot have more.`, {
      field: 'memoryMiB',
    })
  }
  const modulesMiB = spec.dimms.reduce((total, dimm) => total + dimm.sizeMiB, 0)
  const totalMiB = spec.memoryMiB + modulesMiB + (spec.virtioMem?.requestedMiB ?? 0)
  if (totalMiB > hostMiB) {
    throw new EngineError(
      'bad_input',
      `With what is plugged in the guest has ${totalMiB} MiB of memory, and this host ${hostMiB} MiB in all.`,
      { field: spec.memoryMiB + modulesMiB > hostMiB ? 'dimms' : 'virtioMem.requestedMiB' },
    )
  }
  spec.disks.forEach((drive, index) => {
    // Its file would be the one of the UEFI variables.
    if (drive.device === 'disk' && drive.id === 'nvram') {
      throw new EngineError('bad_input', '“nvram” is a name that the VM itself uses; choose another.', {
        field: `disks.${index}.id`,
      })
    }
  })
  const name = fold(spec.name)
  const macs = new Map(spec.networks.map((card, index) => [card.mac, `networks.${index}.mac`]))
  const ports = new Map<string, string>()
  spec.networks.forEach((card, index) => {
    card.forwards.forEach((forward, position) => {
      const field = `networks.${index}.forwards.${position}.hostPort`
      if (forward.protocol === 'tcp' && forward.hostPort === context.dashboardPort) {
        throw new EngineError('port_in_use', `Host port ${forward.hostPort} is the dashboard's own; choose another.`, {
          field,
        })
      }
      ports.set(`${forward.protocol}:${forward.hostPort}`, field)
    })
  })
  for (const other of context.others) {
    if (other.id === context.selfId) continue
    if (other.ownerId === context.ownerId && fold(other.spec.name) === name) {
      throw new EngineError('name_taken', `There is already a VM called ${other.spec.name}; choose another name.`, {
        field: 'name',
      })
    }
    const who = context.canSee(other) ? other.spec.name : 'another VM'
    const cid = spec.vsock?.cid
    if (cid !== undefined && other.spec.vsock?.cid === cid) {
      throw new EngineError('conflict', `${who} already has the vsock address ${cid}; choose another.`, {
        field: 'vsock.cid',
      })
    }
    if (other.ownerId === context.ownerId) checkSharedDisks(spec, other, who)
    for (const card of other.spec.networks) {
      const macField = macs.get(card.mac)
      if (macField !== undefined) {
        throw new EngineError(
          'conflict',
          `${who} already has the MAC address ${card.mac}; leave it out to get a fresh one.`,
          {
            field: macField,
          },
        )
      }
      for (const forward of card.forwards) {
        const field = ports.get(`${forward.protocol}:${forward.hostPort}`)
        if (field === undefined) continue
        throw new EngineError(
          'port_in_use',
          `Host port ${forward.protocol} ${forward.hostPort} already leads to ${who}; choose another.`,
          { field },
        )
      }
    }
  }
}

/** One shared disk has one size, whichever VM names it. @throws EngineError conflict */
function checkSharedDisks(spec: VmSpec, other: VmClaim, who: string): void {
  spec.disks.forEach((disk, index) => {
    if (disk.device !== 'disk' || !disk.shared) return
    for (const theirs of other.spec.disks) {
      if (theirs.device !== 'disk' || !theirs.shared || theirs.serial !== disk.serial) continue
      if (theirs.sizeGiB === disk.sizeGiB) continue
      throw new EngineError(
        'conflict',
        `${who} has the shared disk ${theirs.serial} with ${theirs.sizeGiB} GiB; give the same size, or another serial number.`,
        { field: `disks.${index}.sizeGiB` },
      )
    }
  })
}
