/** The image library through the whole engine. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ovf, tar } from '#server/interop/ova/testing/forge.ts'
import { ADMIN, ANN, BEN, bootDisk, create, imageDir, isRoot, now, until, update, upload } from './test-rig.ts'

describe('the library', () => {
  it('a starter of the distribution is offered and added once', async () => {
    const { items } = await now.engine.images.starters(ANN)
    const offered = items.filter((starter) => starter.available)
    for (const missing of items.filter((s) => !s.available)) expect(missing.detail).not.toBe('')
    const [starter] = offered
    if (starter === undefined) return
    const image = await now.engine.images.addStarter(ANN, starter.id)
    expect(image).toMatchObject({ kind: 'iso', source: 'starter', present: true })
    expect((await now.engine.images.addStarter(ANN, starter.id)).id).toBe(image.id)
    expect((await now.engine.images.starters(ANN)).items.find((s) => s.id === starter.id)?.image).toBe(image.id)
  })

  it('Debian’s installer is made into a medium that shows its menu', async () => {
    const installer = (await now.engine.images.starters(ANN)).items.find((s) => s.id === 'debian-netinst')
    expect(installer).toBeDefined()
    if (!installer?.available) {
      expect(installer?.installCommand).toContain('apt-get install')
      await expect(now.engine.images.addStarter(ANN, 'debian-netinst')).rejects.toMatchObject({ code: 'image_missing' })
      return
    }
    const image = await now.engine.images.addStarter(ANN, 'debian-netinst')
    expect(image).toMatchObject({ kind: 'iso', guest: 'linux', label: 'DEBIAN_NETBOOT', source: 'starter' })
    const vm = await create(ANN, { name: 'inst', memoryMiB: 512, disks: [{ device: 'cdrom', image: image.id }] })
    await now.engine.vms.start(ANN, vm.id)
    const output = () => Buffer.from(now.supervisor.serialHub(vm.id)?.history().head ?? []).toString()
    await until(output, (text) => text.includes('Install Debian over the network'), 60_000)
  })

  it('two who add the same starter at once get one image', async () => {
    const [starter] = (await now.engine.images.starters(ANN)).items.filter((s) => s.available)
    if (starter === undefined) return
    const both = await Promise.all([ANN, BEN].map((who) => now.engine.images.addStarter(who, starter.id)))
    expect(both[0]?.id).toBe(both[1]?.id)
    expect((await now.engine.images.list(ADMIN)).items).toHaveLength(1)
  })

  it('who uses an image is told when it changes, and only VMs the reader may see', async () => {
    const image = await upload(ANN, bootDisk())
    const seen: Record<string, string[][]> = { ann: [], ben: [] }
    const stops = [ANN, BEN].map((who) =>
      now.engine.events.subscribe(who, null, ({ topic, object }) => {
        if (topic !== 'image') return
        const { usedBy } = object as unknown as { usedBy: { name: string }[] }
        seen[who.name]?.push(usedBy.map((vm) => vm.name))
      }),
    )
    const vm = await create(ANN, { name: 'user', disks: [{ device: 'disk', image: image.id }] })
    await update(ANN, vm.id, { disks: [] })
    for (const end of stops) end()
    expect(seen).toEqual({ ann: [['user'], []], ben: [[], []] })
  })

  it('a file of an allowed directory is registered as a job, read where it is, and stays when deleted', async () => {
    mkdirSync(imageDir, { recursive: true, mode: 0o755 })
    chmodSync(imageDir, 0o755)
    const file = join(imageDir, 'there.img')
    writeFileSync(file, bootDisk(), { mode: 0o644 })
    symlinkSync('/etc/passwd', join(imageDir, 'link.img'))
    const { images, jobs } = now.engine
    expect((await images.sources(ADMIN)).files).toEqual([{ path: file, sizeBytes: 2 ** 20 }])
    if (isRoot) {
      chmodSync(file, 0o600)
      await expect(images.register(ADMIN, { path: file })).rejects.toMatchObject({ code: 'image_refused' })
      chmodSync(file, 0o644)
    }
    for (const path of ['/etc/passwd', join(imageDir, '..', 'data', 'state.db'), join(imageDir, 'link.img')]) {
      await expect(images.register(ADMIN, { path })).rejects.toMatchObject({ code: 'forbidden' })
    }
    const job = await images.register(ADMIN, { path: file, name: 'kept.img' })
    const done = await until(
      () => jobs.view(ADMIN, job.id),
      (view) => view.state !== 'running',
    )
    expect(done).toMatchObject({ state: 'done', progress: 1 })
    await expect(jobs.view(ANN, job.id)).rejects.toMatchObject({ code: 'not_found' })
    await expect(images.register(ADMIN, { path: file })).rejects.toMatchObject({ code: 'conflict' })
    const image = await images.view(ADMIN, done.result ?? '')
    expect(image).toMatchObject({
      name: 'kept.img',
      source: 'registered',
      present: true,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    const vm = await create(ANN, { name: 'reg', memoryMiB: 64, disks: [{ device: 'disk', image: image.id }] })
    expect((await now.engine.vms.start(ANN, vm.id)).state).toBe('running')
    await now.engine.vms.poweroff(ANN, vm.id)
    appendFileSync(file, Buffer.alloc(512))
    await expect(now.engine.vms.start(ANN, vm.id)).rejects.toMatchObject({ code: 'image_missing' })
    expect((await images.view(ADMIN, image.id)).present).toBe(false)
    await now.engine.vms.delete(ANN, vm.id, null)
    await images.delete(ADMIN, image.id)
    expect(existsSync(file)).toBe(true)
  })

  it('a file of an allowed directory is imported as a job: converted, and the source stays', async () => {
    mkdirSync(imageDir, { recursive: true, mode: 0o755 })
    const file = join(imageDir, 'old.vmdk')
    execFileSync('qemu-img', ['create', '-q', '-f', 'vmdk', file, '64M'])
    const { appliances, images, jobs } = now.engine
    await expect(appliances.importFile(ADMIN, { path: '/etc/shadow' })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(appliances.importFile(ADMIN, { path: '/dev/sda' })).rejects.toMatchObject({ code: 'forbidden' })
    const job = await appliances.importFile(ADMIN, { path: file, name: 'old' })
    const done = await until(
      () => jobs.view(ADMIN, job.id),
      (view) => view.state !== 'running' && view.state !== 'queued',
    )
    expect(done).toMatchObject({ state: 'done', kind: 'image-import' })
    expect(await images.view(ADMIN, done.result ?? '')).toMatchObject({
      name: 'old',
      format: 'qcow2',
      source: 'import',
      virtualSizeBytes: 64 * 2 ** 20,
      origin: { format: 'vmdk' },
    })
    expect(existsSync(file)).toBe(true)
  })

  it('an appliance that is uploaded leaves a draft from which a VM is made', async () => {
    const disk = join(imageDir, '..', 'disk.vmdk')
    writeFileSync(`${disk}.raw`, bootDisk())
    execFileSync('qemu-img', [
      'convert',
      '-f',
      'raw',
      '-O',
      'vmdk',
      '-o',
      'subformat=streamOptimized',
      `${disk}.raw`,
      disk,
    ])
    const archive = tar([
      { name: 'box.ovf', content: ovf() },
      { name: 'disk.vmdk', content: readFileSync(disk) },
    ])
    const image = await upload(ANN, archive, 'box.ova')
    const { appliances } = now.engine
    const appliance = await appliances.view(BEN, image.appliance ?? '')
    expect((await appliances.list(ANN)).items).toEqual([appliance])
    const vm = await now.engine.vms.create(ANN, { ...appliance.draft, accelerator: 'tcg' })
    expect(vm.spec).toMatchObject({ name: 'web server-1', memoryMiB: 1024, firmware: 'uefi' })
    expect(vm.spec.disks[0]).toMatchObject({ image: image.id, bus: 'sata', sizeGiB: 2 })
    await appliances.delete(ANN, appliance.id)
    await expect(appliances.view(ANN, appliance.id)).rejects.toMatchObject({ code: 'not_found' })
    expect((await now.engine.images.view(ANN, image.id)).present).toBe(true)
  })
})
