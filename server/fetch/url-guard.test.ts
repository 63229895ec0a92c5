import { describe, expect, it } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { parseAllowList, parseSource, shownUrl, vet } from './url-guard.ts'

const nothing = parseAllowList([])
const refusal = async (work: () => unknown): Promise<EngineError> => {
  try {
    await work()
  } catch (error) {
    if (error instanceof EngineError) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('an address is refused before anything is resolved', () => {
  it.each([
    'file:///etc/passwd',
    'ftp://example.org/x.iso',
    'gopher://example.org/',
    'data:text/plain,hello',
    'blob:https://example.org/1',
    'javascript:alert(1)',
    'unix:/run/x.sock',
    'example.org/x.iso',
    '//example.org/x.iso',
    'http://',
    '',
  ])('when it is %j (U09)', async (raw) => {
    expect(await refusal(() => parseSource(raw, 'url'))).toMatchObject({ code: 'bad_input', field: 'url' })
  })

  it('when it holds credentials, which the answer does not repeat (U09)', async () => {
    for (const raw of ['http://user:hunter2@example.org/x', 'https://hunter2@example.org/x', 'http://:hunter2@h/']) {
      const error = await refusal(() => parseSource(raw, 'url'))
      expect(error.code).toBe('bad_input')
      expect(error.message).not.toContain('hunter2')
    }
  })

  it('when it is longer than any address', async () => {
    expect((await refusal(() => parseSource(`http://h/${'x'.repeat(5000)}`, 'url'))).code).toBe('bad_input')
  })
})

describe('what the URL parser makes of odd spellings is judged as the address it is', () => {
  it.each([
    'http://127.1/',
    'http://0x7f.1/',
    'http://0x7f000001/',
    'http://2130706433/',
    'http://017700000001/',
    'http://①②⑦.⓪.⓪.①/',
    'http://[::ffff:7f00:1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::]/',
    'http://[64:ff9b::7f00:1]/',
    'http://169.254.169.254/latest/meta-data/',
    'http://0/',
    'http://[fe80::1]/',
    'http://localhost/',
    'http://localhost./',
    'http://LOCALHOST.:80/',
    'http://a.localhost/',
  ])('%s', async (raw) => {
    expect((await refusal(() => vet(parseSource(raw, 'url'), nothing))).code).toBe('blocked_address')
  })
})

describe('a name', () => {
  const url = parseSource('https://mirror.example/x.iso', 'url')

  it('is refused when one of its addresses is closed, wherever that stands (U10)', async () => {
    for (const found of [
      ['127.0.0.1', '8.8.8.8'],
      ['8.8.8.8', '::1'],
      ['8.8.8.8', '1.1.1.1', '10.0.0.1'],
    ])
      expect((await refusal(() => vet(url, nothing, async () => found))).code).toBe('blocked_address')
  })

  it('is resolved once, and the connection is for those addresses', async () => {
    let asked = 0
    const vetted = await vet(url, nothing, async () => {
      asked += 1
      return ['8.8.8.8', '2606:4700::1111']
    })
    expect(asked).toBe(1)
    expect(vetted.addresses).toEqual([
      { address: '8.8.8.8', family: 4 },
      { address: '2606:4700::1111', family: 6 },
    ])
  })

  it('that leads nowhere is told as such', async () => {
    const failing = async () => {
      throw new Error('ENOTFOUND')
    }
    for (const resolve of [failing, async () => []])
      expect(await refusal(() => vet(url, nothing, resolve))).toMatchObject({ code: 'bad_input', field: 'url' })
  })
})

describe('what the operator opened', () => {
  const allowed = async (entries: string[], raw: string, found: string[] = []) => {
    try {
      await vet(parseSource(raw, 'url'), parseAllowList(entries), async () => found)
      return true
    } catch {
      return false
    }
  }

  it('is a host by name, on any port or on one', async () => {
    expect(await allowed(['Mirror.Lab'], 'http://mirror.lab/x', ['10.0.0.5'])).toBe(true)
    expect(await allowed(['mirror.lab:8080'], 'http://mirror.lab:8080/x', ['10.0.0.5'])).toBe(true)
    expect(await allowed(['mirror.lab:8080'], 'http://mirror.lab/x', ['10.0.0.5'])).toBe(false)
    expect(await allowed(['mirror.lab'], 'http://evil.mirror.lab/x', ['10.0.0.5'])).toBe(false)
  })

  it('is an address or a network, and nothing beside it', async () => {
    expect(await allowed(['127.0.0.1:9000'], 'http://127.0.0.1:9000/x')).toBe(true)
    expect(await allowed(['127.0.0.1:9000'], 'http://127.0.0.1:9001/x')).toBe(false)
    expect(await allowed(['10.1.0.0/16'], 'http://any.name/x', ['10.1.2.3', '10.1.2.4'])).toBe(true)
    expect(await allowed(['10.1.0.0/16'], 'http://any.name/x', ['10.1.2.3', '10.2.2.4'])).toBe(false)
    expect(await allowed(['[fd00::1]:80'], 'http://[fd00::1]/x')).toBe(true)
    expect(await allowed(['fd00::/8'], 'http://[fd12::1]:81/x')).toBe(true)
  })

  it('must be well formed', () => {
    for (const wrong of ['http://x/', '10.0.0.0/99', 'a b', 'x:y', '*'])
      expect(() => parseAllowList([wrong]), wrong).toThrow()
  })
})

it('an address is shown without credentials, query, fragment and control characters', () => {
  expect(shownUrl('https://user:secret@host.example:8443/a/b.iso?token=secret#secret')).toBe(
    'https://host.example:8443/a/b.iso',
  )
  expect(shownUrl('nonsense secret')).toBe('an address')
})
