/** Files of guests as older releases left them. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { dataPaths } from '#server/paths.ts'
import { guestIdentity } from './identity.ts'
import { settleOldOwners, settleOldOwnersInPool } from './old-owners.ts'
import { createPoolChild } from './pool-child.ts'

const isRoot = process.getuid?.() === 0
const OFF = '01890a5d-ac96-774b-bcce-b302099a8057'
const ON = '01890a5d-ac96-774b-bcce-b302099a8058'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-old-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const facts = (path: string) => {
  const { uid, gid, mode } = statSync(path)
  return { uid, gid, mode: (mode & 0o7777).toString(8) }
}

test.skipIf(!isRoot)(
  'get the dashboard’s group, but for those of a guest that runs; what is shared or ours stays',
  async () => {
    const data = dataPaths(join(dir, 'd'))
    const identity = guestIdentity(true)
    const group = identity.dashboardGid ?? 0
    const uid = identity.allocate(new Set()) ?? 0
    const put = (path: string, owner: number, gid: number, mode = 0o600) => {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, 'x')
      chownSync(path, owner, gid)
      chmodSync(path, mode)
      return path
    }
    const disk = put(data.disk(OFF, 'disk0'), uid, uid)
    const state = put(join(data.tpmDir(OFF), 'tpm2-00.permall'), uid, uid)
    const tpm = data.tpmDir(OFF)
    chownSync(tpm, uid, uid)
    const layer = put(join(data.layersDir, 'a.qcow2'), uid, uid)
    const running = put(data.disk(ON, 'disk0'), uid + 1, uid + 1)
    const shared = put(join(data.layersDir, 'b.qcow2'), uid, identity.readersGid ?? 0, 0o640)
    const ours = put(data.nvramOrigin(OFF), 0, 0)
    const stranger = put(join(data.vmDir(OFF), 'x'), 1234, 1234)
    symlinkSync(ours, join(data.vmDir(OFF), 'link'))
    const left = [running, shared, ours, stranger]
    const before = left.map(facts)

    const warned: string[] = []
    const settle = () =>
      settleOldOwners(
        data,
        identity,
        (vmId) => vmId === ON,
        (message) => warned.push(message),
      )
    expect(await settle()).toBe(4)
    for (const path of [disk, state, layer]) expect(facts(path), path).toEqual({ uid, gid: group, mode: '660' })
    expect(facts(tpm)).toEqual({ uid, gid: group, mode: '2770' })
    expect(left.map(facts)).toEqual(before)
    expect([await settle(), warned]).toEqual([0, []])

    const elsewhere = put(join(dir, 'pool/layers/with | bar.qcow2'), uid, uid)
    const paths = [elsewhere, join(dir, 'pool/none.qcow2'), shared]
    const child = createPoolChild(() => 'p')
    expect(await settleOldOwnersInPool(child, paths, identity)).toBe(1)
    expect(facts(elsewhere)).toEqual({ uid, gid: group, mode: '660' })
    expect(await settleOldOwnersInPool(child, paths, identity)).toBe(0)
  },
)
