import fc from 'fast-check'
import { expect, it } from 'vitest'
import { addressBytes, closedReason, isInside, parseNet } from './addresses.ts'

it.each([
  ['8.8.8.8'],
  ['1.1.1.1'],
  ['151.101.2.132'],
  ['100.63.255.255'],
  ['100.128.0.0'],
  ['172.15.255.255'],
  ['172.32.0.0'],
  ['223.255.255.255'],
  ['2001:4860:4860::8888'],
  ['2a04:4e42::644'],
  ['2606:4700::1111'],
  ['::ffff:8.8.8.8'],
  ['64:ff9b::808:808'],
])('%s is public', (address) => {
  expect(closedReason(address)).toBeNull()
})

it.each([
  ['0.0.0.0'],
  ['0.1.2.3'],
  ['10.0.0.1'],
  ['100.64.0.1'],
  ['100.127.255.255'],
  ['127.0.0.1'],
  ['127.255.255.254'],
  ['169.254.169.254'],
  ['172.16.0.1'],
  ['172.31.255.255'],
  ['192.0.0.8'],
  ['192.0.2.1'],
  ['192.168.1.1'],
  ['198.18.0.1'],
  ['198.51.100.7'],
  ['203.0.113.9'],
  ['224.0.0.1'],
  ['239.255.255.250'],
  ['240.0.0.1'],
  ['255.255.255.255'],
  ['::'],
  ['::1'],
  ['::ffff:127.0.0.1'],
  ['::ffff:7f00:1'],
  ['::ffff:10.0.0.1'],
  ['::ffff:0:127.0.0.1'],
  ['::127.0.0.1'],
  ['64:ff9b::7f00:1'],
  ['64:ff9b::10.1.2.3'],
  ['64:ff9b::a9fe:a9fe'],
  ['64:ff9b:1::1'],
  ['100::1'],
  ['2001::1'],
  ['2001:db8::1'],
  ['2002:7f00:1::'],
  ['3fff::1'],
  ['5f00::1'],
  ['fc00::1'],
  ['fd12:3456::1'],
  ['fe80::1'],
  ['fe80::1%eth0'],
  ['febf::1'],
  ['fec0::1'],
  ['ff02::1'],
  ['not an address'],
])('%s is closed', (address) => {
  expect(closedReason(address)).not.toBeNull()
})

it('an address is read the same however its zeros are written', () => {
  const words = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 })
  fc.assert(
    fc.property(words, (parts) => {
      const long = parts.map((word) => word.toString(16).padStart(4, '0')).join(':')
      // The URL parser writes the shortest form.
      const short = new URL(`http://[${long}]/`).hostname.slice(1, -1)
      expect(addressBytes(short)).toEqual(parts.flatMap((word) => [word >> 8, word & 255]))
      expect(closedReason(short)).toBe(closedReason(long))
    }),
  )
})

it('an IPv4 address is judged the same alone, mapped and behind NAT64', () => {
  const octets = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 })
  fc.assert(
    fc.property(octets, (parts) => {
      const text = parts.join('.')
      expect(closedReason(`::ffff:${text}`)).toBe(closedReason(text))
      expect(closedReason(`64:ff9b::${text}`)).toBe(closedReason(text))
    }),
  )
})

it('networks hold what has their prefix, to the bit', () => {
  const net = parseNet('10.128.0.0/9')
  if (net === null) throw new Error('not read')
  expect(isInside([10, 128, 0, 1], net)).toBe(true)
  expect(isInside([10, 127, 255, 255], net)).toBe(false)
  for (const wrong of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0/8', 'x/8', '::/129'])
    expect(parseNet(wrong), wrong).toBeNull()
})
