import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { findCleanUpTools, findFileTools } from './tools.ts'

const roots: string[] = []
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true })
})
function host(...files: string[]): string {
  const root = mkdtempSync(join(tmpdir(), 'gd-host-'))
  roots.push(root)
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), '')
  }
  return root
}
const PROGRAMS = ['usr/bin/virt-sysprep', 'usr/bin/supermin']
const RECIPE = 'usr/lib/x86_64-linux-gnu/guestfs/supermin.d/packages'
const MODULES = 'lib/modules/6.1.0-1/modules.dep'

test('libguestfs with a kernel and its modules can clean up', () => {
  const root = host(...PROGRAMS, RECIPE, MODULES, 'boot/vmlinuz-6.1.0-1')
  expect(findCleanUpTools({ root })).toMatchObject({
    problem: null,
    tools: {
      kernel: join(root, 'boot/vmlinuz-6.1.0-1'),
      kernelVersion: '6.1.0-1',
      recipe: join(root, dirname(RECIPE)),
    },
  })
})

test('a kernel that lies with its modules is as good, and so is the recipe in lib64', () => {
  const root = host(...PROGRAMS, 'usr/lib64/guestfs/supermin.d/packages', MODULES, 'lib/modules/6.1.0-1/vmlinuz')
  expect(findCleanUpTools({ root }).problem).toBeNull()
})

test.each([
  ['no virt-sysprep', [RECIPE, MODULES, 'boot/vmlinuz-6.1.0-1', 'usr/bin/supermin']],
  ['no supermin', [RECIPE, MODULES, 'boot/vmlinuz-6.1.0-1', 'usr/bin/virt-sysprep']],
  ['without the recipe', [...PROGRAMS, MODULES, 'boot/vmlinuz-6.1.0-1']],
])('what the package would bring is missing, and named: %s', (words, files) => {
  const root = host(...files)
  expect(findCleanUpTools({ root })).toMatchObject({ isMissing: true, problem: expect.stringContaining(words) })
})

test('a kernel without modules is none, and no package is offered for it', () => {
  for (const files of [['boot/vmlinuz-6.1.0-1'], [MODULES, 'boot/vmlinuz-5.0']])
    expect(findCleanUpTools({ root: host(...PROGRAMS, RECIPE, ...files) })).toMatchObject({
      ...{ tools: null, isMissing: false, command: null },
      problem: expect.stringContaining('there is none'),
    })
})

test.each([
  ['Debian', 'usr/lib/x86_64-linux-gnu/perl5/5.36/Sys/Guestfs.pm'],
  ['Fedora', 'usr/lib64/perl5/vendor_perl/Sys/Guestfs.pm'],
  ['Arch', 'usr/lib/perl5/5.40/vendor_perl/Sys/Guestfs.pm'],
])('files are read with the binding for Perl, wherever the system keeps it: %s', (_, binding) => {
  const rest = ['usr/bin/perl', 'usr/bin/supermin', RECIPE, MODULES, 'boot/vmlinuz-6.1.0-1']
  const root = host(...rest, binding)
  expect(findFileTools({ root })).toMatchObject({ problem: null, tools: { perl: join(root, 'usr/bin/perl') } })
  expect(findFileTools({ root: host(...rest) })).toMatchObject({ isMissing: true, problem: /Sys::Guestfs/ })
  expect(findFileTools({ root: host(binding) })).toMatchObject({ isMissing: true })
})

// Root may read everything.
test.skipIf(process.getuid?.() === 0)('a kernel for root alone is named with the command that opens it', () => {
  const root = host(...PROGRAMS, RECIPE, MODULES, 'boot/vmlinuz-6.1.0-1')
  const kernel = join(root, 'boot/vmlinuz-6.1.0-1')
  chmodSync(kernel, 0)
  expect(findCleanUpTools({ root })).toMatchObject({ isMissing: false, command: `chmod 0644 ${kernel}` })
})
