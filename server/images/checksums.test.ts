import { describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { checksumFor, newestMatch, parseList, readChecksum } from './checksums.ts'

const A = 'a'.repeat(64)
const B = 'B1'.repeat(64)
const sums = (text: string) => parseList(text, 'sums', parseYaml)

describe('a list of checksums', () => {
  it('is read as coreutils write it, in text and binary mode, with directories', () => {
    const list = sums(`${A}  x.iso\n${A} *y.iso\r\n${A}  ./dir/z.iso\n\n# comment\n`)
    expect(list.map(({ file }) => file)).toEqual(['x.iso', 'y.iso', 'z.iso'])
    expect(checksumFor(list, 'z.iso')).toEqual({ algorithm: 'sha256', value: A })
  })

  it('is read as BSD writes it, and inside a PGP signature', () => {
    const list = sums(
      `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# Rocky: 1 byte\nSHA256 (Rocky-9 minimal.iso) = ${A}\nSHA512 (f.iso) = ${B}\n-----BEGIN PGP SIGNATURE-----\niQIz\n`,
    )
    expect(checksumFor(list, 'Rocky-9 minimal.iso')).toEqual({ algorithm: 'sha256', value: A })
    expect(checksumFor(list, 'f.iso')).toEqual({ algorithm: 'sha512', value: B.toLowerCase() })
  })

  it('with a single hash is about the file asked for, whatever name it gives', () => {
    expect(checksumFor(sums(`${A}  Tumbleweed-Snapshot20261101.iso\n`), 'Tumbleweed-Current.iso')?.value).toBe(A)
    expect(checksumFor(sums(`${A}\n`), 'x.iso')?.value).toBe(A)
  })

  it('with several never lends the hash of one file to another', () => {
    expect(checksumFor(sums(`${A}  x.iso\n${'b'.repeat(64)}  y.iso\n`), 'z.iso')).toBeNull()
    expect(checksumFor(sums(`${A}  ax.iso\n${'b'.repeat(64)}  x.iso.sig\n`), 'x.iso')).toBeNull()
  })

  it('in which a file stands twice gives the longer hash', () => {
    expect(checksumFor(sums(`${A}  x\n${B}  x\n`), 'x')?.algorithm).toBe('sha512')
  })

  it('that is something else is empty', () => {
    for (const text of ['', '<html><body>404</body></html>', 'x'.repeat(10_000), '\0\0', `${'g'.repeat(64)}  x`])
      expect(sums(text)).toEqual([])
    expect(parseList('{', 'fedora-json', parseYaml)).toEqual([])
    expect(parseList('- [', 'alpine-yaml', parseYaml)).toEqual([])
  })

  it('of Fedora names files by their addresses', () => {
    const text = JSON.stringify([
      { version: '44', arch: 'x86_64', link: 'https://h/F-44-1.1.x86_64.qcow2', sha256: A, size: '1' },
      { version: '44', arch: 'x86_64', link: 'https://h/torrent', sha256: null },
    ])
    expect(parseList(text, 'fedora-json', parseYaml)).toEqual([
      {
        file: 'F-44-1.1.x86_64.qcow2',
        checksum: { algorithm: 'sha256', value: A },
        url: 'https://h/F-44-1.1.x86_64.qcow2',
      },
    ])
  })

  it('of Alpine gives the longer hash', () => {
    const text = `---\n-\n  title: "Virtual"\n  file: alpine-virt-3.22.1-x86_64.iso\n  sha256: ${A}\n  sha512: ${B}\n`
    expect(parseList(text, 'alpine-yaml', parseYaml)[0]?.checksum.algorithm).toBe('sha512')
  })
})

it('the newest match is the highest version, not the last in the alphabet', () => {
  const list = sums(['9.9.0', '12.9.0', '12.10.0'].map((v) => `${A}  debian-${v}-amd64-netinst.iso`).join('\n'))
  expect(newestMatch(list, /^debian-[0-9.]+-amd64-netinst\.iso$/)?.file).toBe('debian-12.10.0-amd64-netinst.iso')
  expect(newestMatch(list, /^ubuntu$/)).toBeNull()
})

it('a checksum is SHA-256 or SHA-512 by its length', () => {
  expect(readChecksum(` ${A.toUpperCase()} `)).toEqual({ algorithm: 'sha256', value: A })
  expect(readChecksum(B)?.algorithm).toBe('sha512')
  for (const wrong of ['', 'a', 'a'.repeat(40), 'g'.repeat(64)]) expect(readChecksum(wrong)).toBeNull()
})
