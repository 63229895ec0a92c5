/** Operations: seeds, what a VM's first start is to set up. */
import * as z from 'zod'
import { VmId } from '../../schema/ids.ts'
import { ClearPassword, PasswordHash, SeedInput, SeedView } from '../../schema/seed.ts'
import { type Operation, op } from '../operation.ts'

const vmId = z.strictObject({ id: VmId })
const Found = z.strictObject({ seed: SeedView.nullable() }).meta({ id: 'SeedFound' })

export const seedsOperations = {
  vmSeedView: op({
    method: 'GET',
    path: '/vms/:id/seed',
    summary: 'How the VM’s seed is made up and whether it was used; none of its text. Null where it has none',
    privilege: 'vm.change',
    params: vmId,
    response: Found,
  }),
  vmSeedReplace: op({
    method: 'POST',
    path: '/vms/:id/seed',
    summary: 'Give the VM a seed, in place of the one it has; a running guest finds it in its drive',
    privilege: 'vm.change',
    params: vmId,
    body: SeedInput,
    response: Found,
    errors: ['conflict', 'busy', 'no_space', 'unresponsive'],
  }),
  vmSeedRemove: op({
    method: 'DELETE',
    path: '/vms/:id/seed',
    summary: 'Take the seed out of the VM and delete it',
    privilege: 'vm.change',
    params: vmId,
    status: 204,
    errors: ['conflict', 'busy', 'unresponsive'],
  }),
  seedPasswordHash: op({
    method: 'POST',
    path: '/seeds/password-hash',
    summary: 'The hash of a password as Linux systems take it; the password is kept nowhere',
    privilege: 'vm.create',
    body: z.strictObject({ password: ClearPassword }),
    response: z.strictObject({ hash: PasswordHash }).meta({ id: 'SeedPasswordHash' }),
  }),
} as const satisfies Record<string, Operation>
