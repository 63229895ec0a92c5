/** Back from user-data to the form. What the form cannot hold is reported, never dropped in silence. */
import { parse } from 'yaml'
import * as z from 'zod'
import { CloudForm } from '../schema/seed.ts'
import { cloudConfigOf } from './cloud-config.ts'

const Known = z.object({
  hostname: z.string().optional(),
  users: z
    .array(
      z.object({
        name: z.string(),
        sudo: z.string().optional(),
        passwd: z.string().optional(),
        ssh_authorized_keys: z.array(z.string()).optional(),
      }),
    )
    .min(1),
  ssh_pwauth: z.boolean().optional(),
  timezone: z.string().optional(),
  locale: z.string().optional(),
  package_upgrade: z.boolean().optional(),
  packages: z.array(z.string()).optional(),
  runcmd: z.array(z.string()).optional(),
})

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, sorted(one)]),
  )
}
const same = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))

/**
 * @param networks of the form: they are in a file of their own
 * @returns the form that writes exactly this, or null: then the text is the only truth
 */
export function formOfUserData(text: string, networks: CloudForm['networks'] = []): CloudForm | null {
  let value: unknown
  try {
    value = parse(text, { maxAliasCount: 20 })
  } catch {
    return null
  }
  const known = Known.safeParse(value)
  if (!known.success) return null
  const { data } = known
  const user = data.users[0]
  if (user === undefined) return null
  const form = CloudForm.safeParse({
    userName: user.name,
    ...(user.passwd === undefined ? {} : { passwordHash: user.passwd }),
    sshKeys: user.ssh_authorized_keys ?? [],
    hostName: data.hostname === undefined || data.hostname === '{hostname}' ? null : data.hostname,
    timeZone: data.timezone ?? null,
    locale: data.locale ?? null,
    packages: data.packages ?? [],
    commands: data.runcmd ?? [],
    sudo: user.sudo !== undefined,
    sshPassword: data.ssh_pwauth ?? false,
    upgrade: data.package_upgrade ?? false,
    networks,
  })
  if (!form.success) return null
  return same(cloudConfigOf(form.data, data.hostname ?? '{hostname}'), value) ? form.data : null
}
