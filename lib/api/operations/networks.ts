/** Operations: networks, which are bridges of the host opened to projects. */
import * as z from 'zod'
import { NetworkId } from '../../schema/ids.ts'
import { Network, NetworkInput, NetworkPatch } from '../../schema/network.ts'
import { Items, op } from '../operation.ts'

const networkId = z.strictObject({ id: NetworkId })

export const networksOperations = {
  networkList: op({
    method: 'GET',
    path: '/networks',
    summary: 'The networks that VMs of the caller may be plugged into; all of them for who manages networks',
    privilege: 'network.view',
    response: Items(Network),
  }),
  networkCreate: op({
    method: 'POST',
    path: '/networks',
    summary: 'Open a bridge of the host to projects, by a name',
    privilege: 'network.manage',
    body: NetworkInput,
    response: Network,
    status: 201,
    errors: ['name_taken'],
  }),
  networkUpdate: op({
    method: 'PATCH',
    path: '/networks/:id',
    summary: 'Rename a network, say which bridge it is and who may use it',
    privilege: 'network.manage',
    params: networkId,
    body: NetworkPatch,
    response: Network,
    revisioned: true,
    errors: ['name_taken', 'stale_revision'],
  }),
  networkDelete: op({
    method: 'DELETE',
    path: '/networks/:id',
    summary: 'Close a bridge again; cards that are plugged in stay so until they are changed',
    privilege: 'network.manage',
    params: networkId,
    status: 204,
  }),
}
