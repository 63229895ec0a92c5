/** The dashboard's API from outside, signed in: prepares what a browser test is not about, and clears it away. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ensureDeviceIso, ensureGuestIso } from '#e2e/guests/build.ts'
import type { CloneFacts } from '#lib/schema/clone.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Role, User } from '#lib/schema/user.ts'
import type { VmSpecInput } from '#lib/schema/vm-spec.ts'
import type { Vm, VmState } from '#lib/schema/vm-state.ts'
import type { Dashboard } from './server.ts'

const POLL_MS = 100
const STATE_TIMEOUT_MS = 30_000

export interface Person {
  readonly name: string
  readonly password: string
}

/** A machine that boots nothing: enough where only the dashboard is looked at, and up in a moment. */
export const EMPTY_MACHINE = { memoryMiB: 32, cpus: 1, disks: [], networks: [] } satisfies Partial<VmSpecInput>

export class Api {
  readonly dashboard: Dashboard
  readonly #cookie: string
  readonly #removals: (() => Promise<void>)[] = []

  private constructor(dashboard: Dashboard, cookie: string) {
    this.dashboard = dashboard
    this.#cookie = cookie
  }

  /** Opens a session; where there is no administrator yet, `person` becomes the first one. */
  static async signIn(dashboard: Dashboard, person: Person): Promise<Api> {
    const nobody = new Api(dashboard, '')
    const { setupNeeded } = await nobody.call<{ setupNeeded: boolean }>('GET', '/session')
    const answer = setupNeeded
      ? await nobody.send('POST', '/setup', { ...person, code: dashboard.setupCode })
      : await nobody.send('POST', '/session', person)
    return new Api(dashboard, answer.headers.get('set-cookie')?.split(';')[0] ?? '')
  }

  /** Headers of somebody on the dashboard's own page. */
  get headers(): Record<string, string> {
    return { origin: this.dashboard.url, ...(this.#cookie && { cookie: this.#cookie }) }
  }

  /** @throws Error with the dashboard's answer when it is a refusal */
  async send(method: string, path: string, body?: object): Promise<Response> {
    const answer = await fetch(`${this.dashboard.url}/api/v1${path}`, {
      method,
      headers: { ...this.headers, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer
  }

  async call<T>(method: string, path: string, body?: object): Promise<T> {
    const answer = await this.send(method, path, body)
    const text = await answer.text()
    return (text === '' ? null : JSON.parse(text)) as T
  }

  vms(): Promise<readonly Vm[]> {
    return this.call<{ items: Vm[] }>('GET', '/vms').then(({ items }) => items)
  }

  vm(id: string): Promise<Vm> {
    return this.call('GET', `/vms/${id}`)
  }

  createVm(spec: VmSpecInput): Promise<Vm> {
    return this.call('POST', '/vms', spec)
  }

  /** Whether clones of it can be cleaned up inside, on this host. */
  async cleanUpOf(id: string): Promise<CloneFacts['cleanUp']> {
    return (await this.call<CloneFacts>('GET', `/vms/${id}/clones`)).cleanUp
  }

  /** Starts a VM and waits until it runs. */
  async start(id: string): Promise<void> {
    await this.send('POST', `/vms/${id}/start`)
    await this.reached(id, 'running')
  }

  /** @throws Error when the VM is not in that state within half a minute */
  async reached(id: string, state: VmState): Promise<void> {
    const deadline = Date.now() + STATE_TIMEOUT_MS
    for (;;) {
      const now = (await this.vm(id)).state
      if (now === state) return
      if (Date.now() > deadline) throw new Error(`VM ${id} is ${now}, not ${state}`)
      await sleep(POLL_MS)
    }
  }

  /** Puts a file under the guests' cache into the library, without copying it. */
  async registerImage(path: string, name: string): Promise<Image> {
    let job = await this.call<Job>('POST', '/images/register', { path, name })
    while (job.state === 'queued' || job.state === 'running') {
      await sleep(POLL_MS)
      job = await this.call<Job>('GET', `/jobs/${job.id}`)
    }
    const { items } = await this.call<{ items: Image[] }>('GET', '/images')
    const image = items.find((candidate) => candidate.name === name)
    if (image === undefined) throw new Error(`${path} was not registered: ${JSON.stringify(job)}`)
    this.#removals.push(() => this.call('DELETE', `/images/${image.id}`))
    return image
  }

  /** A running VM of the test guest; it still has to boot. */
  async startGuest(name: string): Promise<Vm> {
    const image = await this.registerImage(await ensureGuestIso(), `${name}.iso`)
    const disks: VmSpecInput['disks'] = [{ device: 'cdrom', image: image.id, bootIndex: 1 }]
    const vm = await this.createVm({ name, guest: 'linux', memoryMiB: 256, cpus: 1, disks, networks: [] })
    await this.start(vm.id)
    return vm
  }

  /**
   * A running VM whose guest has a driver for every device; it still has to boot, which takes two or three times as
   * long as for `startGuest`.
   * @param spec what to add to or put in place of 512 MiB, one processor and the live CD; a test that plugs in a
   *   processor wants 1024 MiB, and with them a larger cache of translations (see `PlainQemu.start`)
   */
  async startDeviceGuest(name: string, spec: Partial<VmSpecInput> = {}): Promise<Vm> {
    const image = await this.registerImage(await ensureDeviceIso(), `${name}.iso`)
    const cd: VmSpecInput['disks'] = [{ device: 'cdrom', image: image.id, bootIndex: 1 }]
    const disks = [...cd, ...(spec.disks ?? [])]
    const vm = await this.createVm({ guest: 'linux', memoryMiB: 512, cpus: 1, networks: [], ...spec, name, disks })
    await this.start(vm.id)
    return vm
  }

  async createPerson(person: Person, role: Role): Promise<User> {
    const user = await this.call<User>('POST', '/users', { ...person, role })
    this.#removals.push(() => this.call('DELETE', `/users/${user.id}`))
    return user
  }

  /** Deletes every VM, made here or on a page, with its disks, then the images and people made through this object. */
  async removeAll(): Promise<void> {
    for (const { id, state } of await this.vms()) {
      if (state !== 'off' && state !== 'crashed') {
        await this.send('POST', `/vms/${id}/poweroff`)
        await this.reached(id, 'off')
      }
      await this.send('DELETE', `/vms/${id}`)
    }
    // Disks of deleted VMs wait there, and hold the images they stand on.
    await this.call('POST', '/volumes/empty-trash')
    for (let remove = this.#removals.pop(); remove; remove = this.#removals.pop()) await remove()
  }
}
