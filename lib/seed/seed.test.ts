// biome-ignore-all lint/suspicious/noTemplateCurlyInString: a shell's variables are among what is tested
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { SeedInput, type SeedInputInput } from '../schema/seed.ts'
import { buildSeed, type SeedContext } from './build.ts'
import { userDataOf } from './cloud-config.ts'
import { formOfUserData } from './read-cloud-config.ts'
import { expandVariables, hostNameOf } from './variables.ts'
import { checkNetworkConfig, checkUserData, expandYaml } from './yaml-text.ts'

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF0000000000000000000000000000000000000000 ann@desk'
const context: SeedContext = {
  vmName: 'web #1: one',
  macs: ['52:54:00:00:00:01', '52:54:00:00:00:02'],
  instanceId: 'guestdeck-01890000',
  hash: (clear) => `$6$salt$hashof${clear.length}`,
}
const account = {
  userName: 'ann',
  password: 'geheim: {no}',
  sshKeys: [KEY],
  hostName: 'web-{index}.example.org',
  timeZone: 'Europe/Berlin',
  locale: 'de_DE.UTF-8',
  packages: ['nginx', 'qemu-guest-agent'],
  commands: ['echo {name} > /etc/motd', "printf '%s\\n' \"it's\" && echo ${name}"],
}
const build = (input: SeedInputInput, over: Partial<SeedContext> = {}) =>
  buildSeed(SeedInput.parse(input), { ...context, ...over })
const built = (input: SeedInputInput, over: Partial<SeedContext> = {}) => {
  const result = build(input, over)
  if (!result.ok) throw new Error(`${result.field}: ${result.message}`)
  return result.seed
}
const fileOf = (input: SeedInputInput, name: string, over: Partial<SeedContext> = {}) =>
  built(input, over).files.find((file) => file.name === name)?.content ?? ''

const CASES: Record<string, SeedInputInput> = {
  nocloud: {
    kind: 'nocloud',
    index: 3,
    form: {
      ...account,
      sshPassword: true,
      upgrade: true,
      networks: [
        {
          card: 1,
          mode: 'static',
          addresses: ['192.0.2.10/24', '2001:db8::10/64'],
          gateways: ['192.0.2.1', '2001:db8::1'],
          nameServers: ['192.0.2.53'],
          searchDomains: ['example.org'],
        },
        { card: 0, mode: 'dhcp' },
      ],
    },
  },
  smallest: { kind: 'nocloud', form: { userName: 'ann', sshKeys: [KEY] } },
  autoinstall: { kind: 'autoinstall', index: 3, form: { ...account, fullName: 'Ann: “A”' } },
  preseed: { kind: 'preseed', index: 3, form: { ...account, fullName: 'Ann Example' } },
  kickstart: { kind: 'kickstart', index: 3, form: { ...account, fullName: 'Ann "A" Example' } },
  windows: {
    kind: 'windows',
    index: 3,
    form: {
      userName: 'ann',
      password: 'p<&>"ä',
      hostName: 'a-rather-long-name-{index}',
      edition: 'Windows 11 Pro & more',
      productKey: 'AAAAA-BBBBB-CCCCC-DDDDD-EEEEE',
      virtioDrivers: 'w11',
    },
  },
  'windows-bios': { kind: 'windows', form: { userName: 'ann', password: 'x', uefi: false } },
}

describe('files of seeds', () => {
  it.each(Object.entries(CASES))('of %s are what the golden file says', async (name, input) => {
    const { files, label, summary } = built(input)
    const text = [
      `# volume ${label}`,
      ...files.map(({ name: file, content }) => `# ── ${file}\n${content}`),
      `# ── told of it\n${JSON.stringify(summary, null, 1)}\n`,
    ].join('\n')
    await expect(text).toMatchFileSnapshot(`__golden__/${name}.txt`)
  })

  it('never hold a password in clear, but for Windows, which wants it encoded', () => {
    for (const [name, input] of Object.entries(CASES))
      for (const { content } of built(input).files) expect(content, name).not.toContain('geheim')
  })

  it('change the instance id with the seed, so that cloud-init starts anew', () => {
    const small = CASES.smallest as SeedInputInput
    expect(parse(fileOf(small, 'meta-data'))).toEqual({
      'instance-id': 'guestdeck-01890000',
      'local-hostname': 'web-1-one',
    })
    expect(fileOf(small, 'meta-data', { instanceId: 'guestdeck-2' })).toContain('guestdeck-2')
  })

  it('need a form or a text', () => {
    expect(build({ kind: 'preseed' })).toMatchObject({ ok: false, field: 'seed.text' })
  })

  it('name no card that the VM has not', () => {
    const networks = [{ card: 5, mode: 'dhcp' as const }]
    expect(build({ kind: 'nocloud', form: { userName: 'ann', networks } })).toMatchObject({
      field: 'seed.form.networks',
    })
  })

  it('are at most one MiB in all', () => {
    const text = `#cloud-config\nruncmd: ["${'x'.repeat(65_000)}"]\n`
    expect(build({ kind: 'nocloud', text }).ok).toBe(true)
    expect(SeedInput.safeParse({ kind: 'nocloud', text: 'x'.repeat(65_537) }).success).toBe(false)
  })
})

describe('what people type', () => {
  const HOSTILE = ['ann\nroot: x', 'a: b', '- x', '#c', '{a: b}', '*alias', '!!js/function', '"', "'", '\u2028x', '\0']

  it('is refused as a name of an account unless it is one', () => {
    for (const userName of [...HOSTILE, 'Ann', '-ann', 'a'.repeat(33), ''])
      expect(SeedInput.safeParse({ kind: 'nocloud', form: { userName } }).success, userName).toBe(false)
  })

  it('is refused as a key with a line break, quote or anything but a key', () => {
    for (const key of [
      `${KEY}\n${KEY}`,
      `${KEY}'; reboot; '`,
      'ssh-rsa short',
      'no key',
      `${KEY}$(id)`,
      `command="x" ${KEY}`,
    ])
      expect(SeedInput.safeParse({ kind: 'nocloud', form: { userName: 'ann', sshKeys: [key] } }).success, key).toBe(
        false,
      )
  })

  it('stays one command whatever it looks like in YAML', () => {
    const line = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 200 })
      .filter((text) => !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text))
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 5 }), line, (commands, name) => {
        const input = { kind: 'nocloud' as const, form: { userName: 'ann', commands } }
        const data = parse(fileOf(input, 'user-data', { vmName: name }))
        const wanted = commands.map((text) =>
          expandVariables(text, { name, index: 1, hostName: hostNameOf(null, name, 1), macs: context.macs }),
        )
        expect(data.runcmd).toEqual(wanted)
        expect(Object.keys(data)).toEqual(['hostname', 'manage_etc_hosts', 'users', 'ssh_pwauth', 'runcmd'])
      }),
      { numRuns: 300 },
    )
  })

  it('starts no line of its own in a preseed or kickstart file', () => {
    const form = { ...account, fullName: 'A\nd-i preseed/late_command string reboot' }
    expect(SeedInput.safeParse({ kind: 'preseed', form }).success).toBe(false)
    for (const command of ['a\nb', 'a\rb', 'a\u2028b'])
      expect(SeedInput.safeParse({ kind: 'kickstart', form: { ...account, commands: [command] } }).success).toBe(false)
  })

  it('stays text in the answer file of Windows', () => {
    const edition = '</Value></MetaData><RunSynchronous>&"\''
    const xml = fileOf({ kind: 'windows', form: { userName: 'ann', password: 'x', edition } }, 'autounattend.xml')
    expect(xml).not.toContain('<RunSynchronous>')
    expect(xml).toContain('&#60;RunSynchronous&#62;&#38;&#34;&#39;')
  })

  it('tells of a text by hand the names and numbers alone', () => {
    const text = `#cloud-config
users: [{name: ann, passwd: "$6$secret", ssh_authorized_keys: [k1, k2]}, {name: bob}, default]
packages: [nginx, "token=secret value"]
write_files: [{path: /etc/token, content: secret}]
runcmd: ["curl -H secret"]
`
    const { summary } = built({ kind: 'nocloud', text })
    expect(JSON.stringify(summary)).not.toContain('secret')
    expect(summary).toMatchObject({
      byHand: true,
      users: [
        { name: 'ann', keys: 2, hasPassword: true },
        { name: 'bob', keys: 0, hasPassword: false },
      ],
      packages: ['nginx'],
      commands: 1,
      sections: ['users', 'packages', 'write_files', 'runcmd'],
    })
  })

  it('is not repeated by a refusal', () => {
    const result = build({ kind: 'nocloud', text: '#cloud-config\npassword: [geheim\nx: }' })
    expect(result.ok).toBe(false)
    expect(JSON.stringify(result)).not.toContain('geheim')
    const broken = [
      '%geheim',
      '"geheim',
      'a: @geheim',
      'a: `geheim',
      'a: *geheim',
      '- a\ngeheim: b',
      'a: [geheim',
      'a: {geheim: 1',
      '\tgeheim: 1',
      'a: !geheim,x y',
      'geheim: 1\ngeheim: 2',
      '&geheim',
      'a: b: geheim',
      '|geheim',
    ]
    for (const text of broken) {
      const refused = build({ kind: 'nocloud', text: `#cloud-config\n${text}\n`, networkConfig: text })
      expect(refused.ok, text).toBe(false)
      expect(JSON.stringify(refused), text).not.toContain('geheim')
    }
  })
})

describe('variables', () => {
  const variables = { name: 'web #1', index: 7, hostName: 'web-1', macs: ['52:54:00:00:00:01'] }

  it('are put in, but a shell’s and a template’s are left alone', () => {
    expect(expandVariables('{name}-{index} {hostname} {mac0} {mac7} ${name} {{ name }} {other}', variables)).toBe(
      'web #1-7 web-1 52:54:00:00:00:01 {mac7} ${name} {{ name }} {other}',
    )
  })

  it('stay values in YAML: a name with “#” starts no comment', () => {
    const text = '#cloud-config\n# about {name}\nruncmd:\n  - echo {name}\nfqdn: {hostname}\n'
    expect(parse(expandYaml(text, variables))).toEqual({ runcmd: ['echo web #1'], fqdn: 'web-1' })
    expect(expandYaml(text, variables)).toMatch(/^#cloud-config\n/)
  })

  it('leave a text without them exactly as it was', () => {
    const text = '#cloud-config\nruncmd:   [ a,   b ] # odd\n'
    expect(expandYaml(text, variables)).toBe(text)
  })

  it('make a name that hosts may have out of any name of a VM', () => {
    expect(hostNameOf(null, 'Größe 2 (alt)', 1)).toBe('gro-e-2-alt')
    expect(hostNameOf('n{index}.lab', 'x', 12)).toBe('n12.lab')
    expect(hostNameOf(null, '日本', 1)).toBe('guest')
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        expect(hostNameOf(null, name, 1)).toMatch(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/)
      }),
    )
  })
})

describe('a text is checked', () => {
  it('with the line and column of what is wrong', () => {
    expect(checkUserData('#cloud-config\nusers:\n  - name: a\n bad', 'nocloud')[0]).toMatchObject({
      severity: 'error',
      line: 4,
    })
    expect(checkUserData('#cloud-config\na: 1\na: 2\n', 'nocloud')).toMatchObject([
      { code: 'syntax', line: 3, column: 1 },
    ])
  })

  it('for its header, its form and keys that nobody knows', () => {
    expect(checkUserData('users: []', 'nocloud')).toMatchObject([{ code: 'no-header' }])
    expect(checkUserData('#!/bin/sh\n: :', 'nocloud')).toEqual([])
    expect(checkUserData('#!/bin/sh', 'autoinstall')).toMatchObject([{ code: 'no-header' }])
    expect(checkUserData('#cloud-config\n- a', 'nocloud')).toMatchObject([{ code: 'not-a-map' }])
    expect(checkUserData('#cloud-config\nuserz: []\npackages: []', 'nocloud')).toMatchObject([
      { severity: 'warning', code: 'unknown-key', detail: 'userz', line: 2, column: 1 },
    ])
    expect(checkUserData('#cloud-config\nusers: []', 'autoinstall')).toMatchObject([{ code: 'no-autoinstall' }])
    expect(checkUserData('#cloud-config\npassword: x', 'nocloud')).toMatchObject([{ code: 'clear-password', line: 2 }])
    expect(checkNetworkConfig('ethernets: {}')).toMatchObject([{ code: 'no-version' }])
    expect(checkNetworkConfig('version: 2')).toEqual([])
  })

  it('and a bomb of aliases is refused, not unfolded', () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    for (let n = 1; n < 12; n += 1)
      bomb.push(
        `a${n}: &a${n} [${Array(9)
          .fill(`*a${n - 1}`)
          .join(', ')}]`,
      )
    const started = performance.now()
    expect(checkUserData(`#cloud-config\n${bomb.join('\n')}`, 'nocloud')[0]).toMatchObject({ severity: 'error' })
    expect(performance.now() - started).toBeLessThan(5000)
  })
})

describe('user-data and the form', () => {
  const plain = {
    userName: 'ann',
    sshKeys: [KEY],
    passwordHash: '$6$salt$hashhash',
    packages: ['nginx'],
    commands: ['a'],
  }
  const form = (over: object = {}) => {
    const input = SeedInput.parse({ kind: 'nocloud', form: { ...plain, ...over } })
    if (input.kind !== 'nocloud' || input.form === undefined) throw new Error('no form')
    return input.form
  }

  it('lead into each other without loss', () => {
    for (const over of [
      {},
      { hostName: 'web-{index}', sudo: false, sshPassword: true, timeZone: 'UTC', upgrade: true },
    ]) {
      const wanted = form(over)
      expect(formOfUserData(userDataOf(wanted, wanted.hostName ?? '{hostname}'))).toEqual(wanted)
    }
  })

  it('part where the text holds more than the form can', () => {
    const text = userDataOf(form(), '{hostname}')
    expect(formOfUserData(`${text}write_files: []\n`)).toBeNull()
    expect(formOfUserData(text.replace('/bin/bash', '/bin/zsh'))).toBeNull()
    expect(formOfUserData('#cloud-config\nusers: [')).toBeNull()
    expect(formOfUserData(`${text}# a comment alone is lost without harm\n`)).not.toBeNull()
  })
})
