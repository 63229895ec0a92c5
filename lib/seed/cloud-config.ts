/**
 * cloud-init's files from a form: user-data (cloud-config), network-config version 2, meta-data.
 * Sources: cloudinit/config/cc_*.py, cloudinit/sources/DataSourceNoCloud.py, cloudinit/net/network_state.py.
 *
 * Everything is written by the YAML library from data, so that what people type stays a value whatever it looks like.
 */
import { stringify } from 'yaml'
import type { CloudForm, SeedCard } from '../schema/seed.ts'

/** No folding: a long key or command stays on its line, which people compare. */
const YAML = { lineWidth: 0, aliasDuplicateObjects: false } as const

export const CLOUD_CONFIG = '#cloud-config'

/** What the form means, without the password in clear. Keys in the order they are written. */
export function cloudConfigOf(form: Omit<CloudForm, 'password'>, hostName: string): Record<string, unknown> {
  const locked = form.passwordHash === undefined
  return {
    hostname: hostName,
    manage_etc_hosts: true,
    users: [
      {
        name: form.userName,
        ...(form.sudo ? { sudo: 'ALL=(ALL) NOPASSWD:ALL' } : {}),
        shell: '/bin/bash',
        lock_passwd: locked,
        ...(locked ? {} : { passwd: form.passwordHash }),
        ...(form.sshKeys.length > 0 ? { ssh_authorized_keys: [...form.sshKeys] } : {}),
      },
    ],
    ssh_pwauth: form.sshPassword && !locked,
    ...(form.timeZone === null ? {} : { timezone: form.timeZone }),
    ...(form.locale === null ? {} : { locale: form.locale }),
    ...(form.packages.length > 0 || form.upgrade ? { package_update: true } : {}),
    ...(form.upgrade ? { package_upgrade: true } : {}),
    ...(form.packages.length > 0 ? { packages: [...form.packages] } : {}),
    ...(form.commands.length > 0 ? { runcmd: [...form.commands] } : {}),
  }
}

export const userDataOf = (form: Omit<CloudForm, 'password'>, hostName: string): string =>
  `${CLOUD_CONFIG}\n${stringify(cloudConfigOf(form, hostName), YAML)}`

/** A new instance id makes cloud-init take everything up anew, as on a first start. */
export const metaDataOf = (instanceId: string, hostName: string): string =>
  stringify({ 'instance-id': instanceId, 'local-hostname': hostName }, YAML)

/**
 * Null where cloud-init's own choice, DHCP on the first card, is what the form means.
 * Cards are told by their hardware address, as names differ between systems.
 */
export function networkConfigOf(cards: readonly SeedCard[]): string | null {
  if (cards.length === 0) return null
  const sorted = cards.toSorted((a, b) => a.card - b.card)
  return stringify(
    {
      version: 2,
      ethernets: Object.fromEntries(
        sorted.map((card) => [
          `card${card.card}`,
          { match: { macaddress: `{mac${card.card}}` }, ...addressesOf(card) },
        ]),
      ),
    },
    YAML,
  )
}

function addressesOf(card: SeedCard): Record<string, unknown> {
  const { addresses: own, search } = nameServersOf(card)
  const nameServers =
    own.length === 0 && search.length === 0
      ? {}
      : { nameservers: { ...(own.length > 0 && { addresses: own }), ...(search.length > 0 && { search }) } }
  if (card.mode === 'dhcp') return { dhcp4: true, dhcp6: false, ...nameServers }
  return {
    dhcp4: false,
    dhcp6: false,
    addresses: [...card.addresses],
    ...(card.gateways.length === 0
      ? {}
      : { routes: card.gateways.map((via) => ({ to: via.includes(':') ? '::/0' : '0.0.0.0/0', via })) }),
    ...nameServers,
  }
}

const nameServersOf = (card: SeedCard) => ({ addresses: [...card.nameServers], search: [...card.searchDomains] })
