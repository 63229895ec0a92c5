import { expect, test } from 'vitest'
import type { Image } from '../schema/image.ts'
import { seedKindsFor } from './kinds-for.ts'

const boot = (kind: 'iso' | 'disk', id: string | null, cloudInit: boolean | null = null) => ({
  kind,
  cloudInit,
  os: id === null ? null : ({ id, name: id, version: null, architecture: null } satisfies Image['os']),
})

test('an installer that is known offers its own answer file first', () => {
  expect(seedKindsFor({ boot: boot('iso', 'debian'), guest: 'linux' })).toEqual(['preseed', 'nocloud'])
  expect(seedKindsFor({ boot: boot('iso', 'rocky'), guest: 'linux' })).toEqual(['kickstart', 'nocloud'])
  expect(seedKindsFor({ boot: boot('iso', 'ubuntu'), guest: 'linux' })[0]).toBe('autoinstall')
  expect(seedKindsFor({ boot: boot('iso', 'windows'), guest: undefined })).toEqual(['windows'])
})

test('a disc that is not known offers every installer of the chosen guest', () => {
  expect(seedKindsFor({ boot: boot('iso', null), guest: 'linux' })).toHaveLength(4)
  expect(seedKindsFor({ boot: boot('iso', 'arch'), guest: undefined })).toContain('windows')
})

test('a disk offers cloud-init, unless its system is known to have none', () => {
  expect(seedKindsFor({ boot: boot('disk', 'debian', true), guest: 'linux' })).toEqual(['nocloud'])
  expect(seedKindsFor({ boot: boot('disk', null), guest: undefined })).toEqual(['nocloud'])
  expect(seedKindsFor({ boot: boot('disk', 'debian', false), guest: 'linux' })).toEqual([])
})
