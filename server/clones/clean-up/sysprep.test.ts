import { expect, test } from 'vitest'
import { CLEAN_UPS, CleanUpInput } from '#lib/schema/clone.ts'
import { failureOf, stepOf, sysprepArgs } from './sysprep.ts'

const ask = (wish: unknown, hostName: string | null = null) =>
  sysprepArgs(['/r/w1/nbd', '/r/w2/nbd'], CleanUpInput.parse(wish), hostName)

test('disks come as blocks of a named format, in the order of the guest, and there is no network', () => {
  const args = ask({})
  expect(args.slice(0, 6)).toEqual([
    ...['--format', 'raw', '-a', 'nbd:///?socket=/r/w1/nbd', '-a', 'nbd:///?socket=/r/w2/nbd'],
  ])
  expect(args).toContain('--no-network')
})

test('what was chosen is done, in one order, and a fresh random seed always', () => {
  const operations = (wish: unknown) => {
    const args = ask(wish)
    return args[args.indexOf('--operations') + 1]
  }
  expect(operations({})).toBe('machine-id,ssh-hostkeys,dhcp-client-state,net-hwaddr,udev-persistent-net,customize')
  expect(operations({ operations: ['logfiles', 'machine-id', 'machine-id'] })).toBe('machine-id,logfiles,customize')
  expect(operations({ operations: [], hostName: 'web' })).toBe('customize')
})

test('nothing outside of the closed set is taken: no script, no accounts', () => {
  for (const name of ['script', 'user-account', 'customize', 'machine-id,script', '--run'])
    expect(CleanUpInput.safeParse({ operations: [name] }).success, name).toBe(false)
  expect(CleanUpInput.safeParse({ hostName: '--run=/etc/passwd' }).success).toBe(false)
  expect(CleanUpInput.safeParse({ operations: [], runCommand: 'x' }).success).toBe(false)
})

test('who takes host keys out lets the guest make new ones at its first start; others are left alone', () => {
  expect(ask({}).find((word) => word.includes('ssh-keygen -A'))).toBeDefined()
  expect(ask({ operations: ['machine-id'] })).not.toContain('--firstboot-command')
})

test('a host name is set where one is asked for', () => {
  expect(ask({}, 'web-3').slice(-5)).toContain('web-3')
  expect(ask({})).not.toContain('--hostname')
})

test('the job tells what is done in words of ours, whatever else is printed', () => {
  expect(stepOf('[   0.0] Examining the guest ...\n[  23.4] Performing "machine-id" ...\n')).toBe('machine ID')
  expect(stepOf('[  24.0] Setting the hostname: <img src=x>\n')).toBe('host name')
  expect(stepOf('[  24.0] Performing "<b>" ...\n[1.1] Setting the password of root\n')).toBeNull()
  for (const name of CLEAN_UPS) expect(stepOf(`[   1.0] Performing "${name}" ...`)).toMatch(/^[A-Za-z ]+$/)
})

test.each([
  ['unreadable', 'No operating system', 'virt-sysprep: error: no operating systems were found in the guest image'],
  ['no_space', 'full', 'virt-sysprep: error: libguestfs error: write: /etc/hostname: No space left on device'],
  ['internal', 'log has', 'virt-sysprep: error: something else /secret/path'],
])('what went wrong is told as %s, without a word of the guest’s', (code, words, stderr) => {
  const error = failureOf({ exitCode: 1, signal: null, stderr }, 60_000)
  expect(error).toMatchObject({ code, message: expect.stringContaining(words) })
  expect(error.message).not.toContain('/')
})

test('one that takes too long is ended, and it is said after what time', () => {
  const error = failureOf({ exitCode: null, signal: 'SIGKILL', stderr: '' }, 60 * 60_000)
  expect(error.message).toContain('60 minutes')
})
