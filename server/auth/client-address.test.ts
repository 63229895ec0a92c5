import type { IncomingMessage } from 'node:http'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clientAddress, createProxyPolicy, forwardedScheme } from './client-address.ts'

const request = (peer: string, headers: Record<string, string[]> = {}) =>
  ({ socket: { remoteAddress: peer }, headersDistinct: headers }) as unknown as IncomingMessage
const policy = createProxyPolicy(['10.0.0.0/8', '::1', '192.0.2.7'])

describe('the address of a client', () => {
  test.each([
    ['without a trusted peer, headers are not believed', '203.0.113.9', ['198.51.100.1'], '203.0.113.9'],
    ['a trusted proxy names the client', '10.1.2.3', ['198.51.100.1'], '198.51.100.1'],
    ['proxies in a row are passed', '10.1.2.3', ['198.51.100.1, 192.0.2.7, 10.9.9.9'], '198.51.100.1'],
    [
      'what the client wrote itself stands further left and is not read',
      '10.1.2.3',
      ['1.1.1.1, 198.51.100.1'],
      '198.51.100.1',
    ],
    ['several headers are one list', '10.1.2.3', ['1.1.1.1', '198.51.100.1'], '198.51.100.1'],
    ['a proxy that says nothing is the client', '10.1.2.3', undefined, '10.1.2.3'],
    ['an entry that is no address ends the list', '10.1.2.3', ['198.51.100.1, unknown'], '10.1.2.3'],
    ['IPv4 inside IPv6 is IPv4', '::ffff:10.1.2.3', ['::ffff:198.51.100.1'], '198.51.100.1'],
    ['IPv6 proxies are trusted too', '::1', ['2001:db8::5'], '2001:db8::5'],
  ])('%s', (_rule, peer, forwarded, expected) => {
    const headers: Record<string, string[]> = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
    expect(clientAddress(request(peer, headers), policy)).toBe(expected)
  })

  test('without proxies nothing a client sends changes its address', () => {
    const none = createProxyPolicy([])
    fc.assert(
      fc.property(fc.array(fc.string()), (values) => {
        expect(clientAddress(request('203.0.113.9', { 'x-forwarded-for': values }), none)).toBe('203.0.113.9')
      }),
    )
  })

  test('a list of any length and form gives an address, never a header', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6())), (values) => {
        const got = clientAddress(request('10.0.0.1', { 'x-forwarded-for': values }), policy)
        expect(got).toMatch(/^[0-9a-fA-F:.]+$/)
      }),
    )
  })

  test('only a trusted proxy says that the other side is encrypted', () => {
    const headers = { 'x-forwarded-proto': ['https'] }
    expect(forwardedScheme(request('10.0.0.1', headers), policy)).toBe('https')
    expect(forwardedScheme(request('203.0.113.9', headers), policy)).toBeNull()
    expect(forwardedScheme(request('10.0.0.1', { 'x-forwarded-proto': ['https, http'] }), policy)).toBe('http')
    expect(forwardedScheme(request('10.0.0.1', { 'x-forwarded-proto': ['gopher'] }), policy)).toBeNull()
  })

  test.each(['10.0.0.0/33', '10.0.0.0/x', 'proxy.lab', '10.0.0.0/8/8', '::1/129', ''])('%s is refused', (entry) => {
    expect(() => createProxyPolicy([entry])).toThrow(RangeError)
  })
})
