import { describe, expect, test } from 'vitest'
import { explainLoss, explainSpawn, explainStart } from './explain.ts'

const swtpm = { id: 'tpm0', kind: 'swtpm' } as const
const virtiofsd = { id: 'share0', kind: 'virtiofsd' } as const
const ONE = { code: 1, signal: null }

/** What the programs and those that start them really wrote (Debian 12). */
const REAL = [
  [swtpm, 'helper-failed', /not installed/, 'sh: 1: exec: /usr/bin/swtpm: not found'],
  [virtiofsd, 'permission-denied', /user namespaces/, 'unshare: unshare failed: No space left on device'],
  [
    virtiofsd,
    'permission-denied',
    /user namespaces/,
    'unshare: write failed /proc/self/uid_map: Operation not permitted',
  ],
  [
    virtiofsd,
    'permission-denied',
    /\/run\/virtiofsd/,
    'fv_socket_lock: Failed to create directory /var/run/virtiofsd: Permission denied',
  ],
  [virtiofsd, 'host-resource', /host does not have/, 'failed to stat source ("/srv/none"): No such file or directory'],
  [
    virtiofsd,
    'host-resource',
    /host does not have/,
    'mount: /srv/none: mount point does not exist.\n       dmesg(1) may have more information after failed mount system call.',
  ],
  [virtiofsd, 'host-resource', /host does not have/, 'source is not a directory'],
  [swtpm, 'helper-failed', /no space left/, 'swtpm: Could not write: No space left on device'],
] as const

describe('a helper that does not begin to serve', () => {
  test.each(REAL)('%o: %s', (helper, code, summary, stderr) => {
    expect(explainStart(helper, stderr, ONE)).toMatchObject({ code, summary: expect.stringMatching(summary) })
  })
  test('for an unknown reason is told with its exit code and last words, paths cut short', () => {
    const told = explainStart(swtpm, 'first\nswtpm: cannot frob /srv/data/vms/7/tpm', { code: 3, signal: null })
    expect(told.summary).toMatch(/exit code 3/)
    expect(told.advice).toBe('Its last words: swtpm: cannot frob …/tpm')
  })
  test('in time is told as such', () => {
    expect(explainStart(virtiofsd, '', null)).toMatchObject({ code: 'timeout' })
  })
  test('because the host is full of processes is not taken for a missing program', () => {
    expect(explainSpawn(swtpm, 'EAGAIN').code).toBe('out-of-memory')
    expect(explainSpawn(swtpm, 'ENOENT').summary).toMatch(/swtpm.*cannot be started/)
  })
})

test('a loss names what the guest lost, how, and what brings it back', () => {
  expect(explainLoss(virtiofsd, { code: null, signal: 'SIGKILL' }, '')).toMatch(
    /shared folder “share0”.*SIGKILL.*started again/,
  )
  expect(explainLoss(swtpm, null, 'bye')).toMatch(/^Its TPM has stopped: it ended \(bye\)\./)
})
