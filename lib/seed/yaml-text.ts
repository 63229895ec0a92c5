/** YAML of people and of the form: looked through for faults, and filled in with variables. */
import { isMap, isScalar, LineCounter, parseDocument, Scalar, visit } from 'yaml'
import type { SeedKind } from '../schema/seed.ts'
import { CLOUD_CONFIG } from './cloud-config.ts'
import { SEED_TEXT_MAX } from './limits.ts'
import { expandVariables, type SeedVariables } from './variables.ts'

export interface TextProblem {
  /** `error`: the seed is refused. */
  readonly severity: 'error' | 'warning'
  /** Both from 1. */
  readonly line: number
  readonly column: number
  readonly code:
    | 'syntax'
    | 'not-a-map'
    | 'unknown-key'
    | 'no-header'
    | 'too-long'
    | 'no-autoinstall'
    | 'no-version'
    | 'clear-password'
  /** The parser's words, or the key meant. */
  readonly detail: string
}

/** Modules of cloud-init up to 25.x, by the keys they read (cloudinit/config/schemas/schema-cloud-config-v1.json). */
const CLOUD_KEYS = new Set(
  `allow_public_ssh_keys ansible apk_repos apt apt_pipelining apt_reboot_if_required autoinstall bootcmd byobu_by_default
  ca_certs ca-certs chef chpasswd cloud_config_modules cloud_final_modules cloud_init_modules create_hostname_file
  datasource datasource_list debug device_aliases disable_ec2_metadata disable_root disable_root_opts disk_setup
  drivers fan final_message fqdn fs_setup groups growpart grub_dpkg grub-dpkg hostname keyboard landscape launch-index
  locale locale_configfile lxd manage_etc_hosts manage_resolv_conf manual_cache_clean mcollective merge_how merge_type
  migrate mount_default_fields mounts network no_ssh_fingerprints ntp output package_reboot_if_required
  package_update package_upgrade packages password phone_home power_state prefer_fqdn_over_hostname preserve_hostname
  puppet random_seed reporting resize_rootfs resolv_conf rh_subscription rsyslog runcmd salt_minion snap spacewalk ssh
  ssh_authorized_keys ssh_deletekeys ssh_fp_console_blacklist ssh_genkeytypes ssh_import_id ssh_key_console_blacklist
  ssh_keys ssh_publish_hostkeys ssh_pwauth ssh_quiet_keygen swap system_info timezone ubuntu_advantage ubuntu_pro
  updates user users vendor_data version wireguard write_files yum_repo_dir yum_repos zypper`.split(/\s+/),
)

/** Aliases beyond this are a bomb, not a text. */
const MAX_ALIASES = 50

const parseText = (text: string) => {
  const lines = new LineCounter()
  return { lines, document: parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true }) }
}

/** cloud-init takes scripts, archives and includes too; of those only the first line is known. */
const isCloudConfig = (text: string): boolean => /^#cloud-config\b/.test(text)

const bytesOf = (text: string): number => new TextEncoder().encode(text).length

/** What is wrong with user-data, by line. */
export function checkUserData(text: string, kind: Extract<SeedKind, 'nocloud' | 'autoinstall'>): TextProblem[] {
  if (bytesOf(text) > SEED_TEXT_MAX) return [problem('error', 'too-long', String(SEED_TEXT_MAX))]
  if (!isCloudConfig(text)) {
    // `#!`, `#include`, `## template: jinja`, MIME: cloud-init knows more than YAML.
    const known =
      kind === 'nocloud' &&
      /^(#!|#include|#cloud-boothook|#part-handler|#cloud-config-archive|## template: jinja|Content-Type: )/.test(text)
    return known ? [] : [problem('error', 'no-header', CLOUD_CONFIG)]
  }
  return checkYaml(
    text,
    (key) => (CLOUD_KEYS.has(key) ? null : 'unknown-key'),
    (keys) =>
      kind === 'autoinstall' && !keys.includes('autoinstall')
        ? problem('error', 'no-autoinstall', 'autoinstall')
        : null,
  )
}

const NETWORK_KEYS = new Set([
  'version',
  'config',
  'renderer',
  'ethernets',
  'bonds',
  'bridges',
  'vlans',
  'wifis',
  'network',
])

export function checkNetworkConfig(text: string): TextProblem[] {
  if (bytesOf(text) > SEED_TEXT_MAX) return [problem('error', 'too-long', String(SEED_TEXT_MAX))]
  return checkYaml(
    text,
    (key) => (NETWORK_KEYS.has(key) ? null : 'unknown-key'),
    (keys) => (keys.includes('version') || keys.includes('network') ? null : problem('error', 'no-version', 'version')),
  )
}

const problem = (
  severity: TextProblem['severity'],
  code: TextProblem['code'],
  detail: string,
  line = 1,
  column = 1,
): TextProblem => ({
  severity,
  code,
  detail,
  line,
  column,
})

function checkYaml(
  text: string,
  judge: (key: string) => TextProblem['code'] | null,
  whole: (keys: readonly string[]) => TextProblem | null,
): TextProblem[] {
  const { lines, document } = parseText(text)
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return [Math.max(line, 1), Math.max(col, 1)] as const
  }
  const found = document.errors.map((error) => {
    const [line, column] = at(error.pos[0])
    return problem('error', 'syntax', error.message, line, column)
  })
  if (found.length > 0) return found
  try {
    document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (error) {
    return [problem('error', 'syntax', error instanceof Error ? error.message : 'unreadable')]
  }
  const { contents } = document
  if (!isMap(contents)) return [problem('error', 'not-a-map', '')]
  const keys: string[] = []
  for (const { key } of contents.items) {
    if (!isScalar(key)) continue
    const name = String(key.value)
    keys.push(name)
    const code = judge(name)
    if (code !== null) {
      const [line, column] = at(key.range?.[0] ?? 0)
      found.push(problem('warning', code, name, line, column))
    }
  }
  visit(contents, {
    Pair(_, { key }) {
      if (!isScalar(key) || (key.value !== 'plain_text_passwd' && key.value !== 'password')) return
      const [line, column] = at(key.range?.[0] ?? 0)
      found.push(problem('warning', 'clear-password', String(key.value), line, column))
    },
  })
  const missing = whole(keys)
  return missing === null ? found : [missing, ...found]
}

const WORDS = /^(name|index|hostname|mac[0-7])$/

/**
 * Variables filled in as values: whatever a name holds, it starts no comment, list or key of its own. `hostname: {name}`
 * without quotes, which YAML reads as a map, means the variable too. Text that is no YAML is filled in as it is.
 */
export function expandYaml(text: string, variables: SeedVariables, isYaml = isCloudConfig(text)): string {
  if (expandVariables(text, variables) === text) return text
  if (!isYaml) return expandVariables(text, variables)
  const { document } = parseText(text)
  if (document.errors.length > 0) return expandVariables(text, variables)
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'string') node.value = expandVariables(node.value, variables)
    },
    Map(_, node) {
      const [only, ...more] = node.items
      if (node.flow !== true || only === undefined || more.length > 0) return
      const { key, value } = only
      const isEmpty = value === null || (isScalar(value) && value.value === null)
      if (!isEmpty || !isScalar(key) || typeof key.value !== 'string' || !WORDS.test(key.value)) return
      return new Scalar(expandVariables(`{${key.value}}`, variables))
    },
  })
  const written = document.toString({ lineWidth: 0 })
  // The first line says what the text is and must stay the first.
  return isCloudConfig(written) || !isCloudConfig(text) ? written : `${CLOUD_CONFIG}\n${written}`
}
