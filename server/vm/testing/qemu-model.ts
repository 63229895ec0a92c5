/**
 * A QMP peer with the part of QEMU's state that live changes touch, for tests of what a real QEMU never does on demand:
 * refuse, fall silent or vanish at a chosen command.
 */
import { createServer, type Server, type Socket } from 'node:net'
import type { LaunchPlan } from '#server/spec/types.ts'
import { plugPart } from '../hotplug/qmp-of-option.ts'

type Args = { readonly [key: string]: unknown }
interface Request {
  readonly execute: string
  readonly id: number
  readonly arguments?: Args
}

/** Thrown by a command that refuses. */
class Refusal extends Error {}

/** What happens at the command of this number, counted from when it is set: 0 is the next. */
export interface Fault {
  readonly at: number
  /** `vanish-before` and `vanish-after`: the connection ends without an answer; the command was not or was carried out. */
  readonly kind: 'refuse' | 'vanish-before' | 'vanish-after'
}

export class QemuModel {
  readonly #path: string
  #server: Server | null = null
  #sockets = new Set<Socket>()
  readonly devices = new Map<string, Args>()
  readonly backends = new Map<string, Args>()
  readonly links = new Map<string, boolean>()
  readonly settings = new Map<string, unknown>()
  readonly forwards = new Set<string>()
  readonly media = new Map<string, string>()
  /** Devices the guest does not let go of. */
  readonly sticky = new Set<string>()
  readonly asked: string[] = []
  cpus = 1
  /** Of TCG's cache of 256 MiB. */
  codeBytes = 0
  maxCpus = 4
  #fault: Fault | null = null
  #count = 0

  constructor(path: string, plan: LaunchPlan) {
    this.#path = path
    for (const option of plan.options) {
      const part = plugPart(option)
      if (part === null) continue
      if (part.kind === 'device') this.#plug(part.add.arguments)
      else this.backends.set(part.id, part.add.arguments)
    }
  }

  async listen(): Promise<void> {
    const server = createServer((socket) => this.#serve(socket))
    this.#server = server
    await new Promise<void>((resolve) => server.listen(this.#path, resolve))
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => (this.#server ? this.#server.close(() => resolve()) : resolve()))
  }

  /** Counts commands from now on. */
  arm(fault: Fault | null): void {
    this.#fault = fault
    this.#count = 0
  }

  /** Commands since `arm`. */
  get count(): number {
    return this.#count
  }

  /** All of the state that a change could leave something in, comparable. */
  snapshot(): object {
    const sorted = (map: ReadonlyMap<string, unknown>) =>
      Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)))
    return {
      devices: [...this.devices.keys()].sort(),
      backends: [...this.backends.keys()].sort(),
      links: sorted(new Map([...this.links].filter(([, up]) => !up))),
      settings: sorted(new Map([...this.settings].filter(([key]) => this.devices.has(key.split(' ')[0] ?? '')))),
      forwards: [...this.forwards].sort(),
      media: sorted(this.media),
      cpus: this.cpus,
    }
  }

  /** The guest lets go of a device at last. */
  release(id: string): void {
    this.sticky.delete(id)
    this.#unplug(id)
  }

  say(message: object): void {
    for (const socket of this.#sockets) socket.write(`${JSON.stringify(message)}\r\n`)
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    const say = (message: object) => socket.write(`${JSON.stringify(message)}\r\n`)
    say({ QMP: { version: { qemu: { major: 7, minor: 2, micro: 0 }, package: 'model' }, capabilities: [] } })
    let rest = ''
    socket.on('data', (chunk) => {
      rest += chunk.toString('utf8')
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (line.trim() === '') continue
        const request = JSON.parse(line) as Request
        const { execute, id } = request
        if (execute === 'qmp_capabilities') {
          say({ return: {}, id })
          continue
        }
        const isFaulty = this.#fault !== null && this.#count === this.#fault.at
        this.#count += 1
        this.asked.push(execute)
        if (isFaulty && this.#fault?.kind === 'vanish-before') {
          socket.destroy()
          return
        }
        if (isFaulty && this.#fault?.kind === 'refuse') {
          say({ error: { class: 'GenericError', desc: 'The test refuses.' }, id })
          continue
        }
        try {
          const answer = this.#run(execute, request.arguments ?? {})
          if (isFaulty) {
            socket.destroy()
            return
          }
          say({ return: answer ?? {}, id })
        } catch (error) {
          if (!(error instanceof Refusal)) throw error
          say({
            error: {
              class: error.message.startsWith('Device') ? 'DeviceNotFound' : 'GenericError',
              desc: error.message,
            },
            id,
          })
        }
      }
    })
  }

  #plug(args: Args): void {
    const id = String(args.id)
    this.devices.set(id, args)
    if ('bootindex' in args) this.settings.set(`${id} bootindex`, args.bootindex)
    if (typeof args.drive === 'string' && String(args.driver).endsWith('-cd')) this.media.set(id, args.drive)
  }

  #unplug(id: string): void {
    this.devices.delete(id)
    this.say({ event: 'DEVICE_DELETED', data: { device: id, path: `/machine/peripheral/${id}` }, timestamp: STAMP })
  }

  #run(command: string, args: Args): unknown {
    const text = (key: string) => String(args[key])
    const mustExist = (id: string) => {
      if (!this.devices.has(id)) throw new Refusal(`Device '${id}' not found`)
    }
    switch (command) {
      case 'query-status':
        return { status: 'running', running: true }
      case 'device_add':
        if (/-cpu$/.test(text('driver'))) this.cpus += 1
        else if (this.devices.has(text('id'))) throw new Refusal(`Duplicate device ID '${text('id')}'`)
        else this.#plug(args)
        return
      case 'device_del': {
        const id = text('id').replace('/machine/peripheral/', '')
        if (id.startsWith('cpu-') || id.startsWith('/machine/unattached')) {
          this.cpus -= 1
          return
        }
        mustExist(id)
        if (!this.sticky.has(id)) setImmediate(() => this.#unplug(id))
        return
      }
      case 'blockdev-add':
        this.#add(text('node-name'), args)
        return
      case 'netdev_add': {
        this.#add(text('id'), args)
        for (const { str } of (args.hostfwd ?? []) as { str: string }[]) this.forwards.add(str)
        return
      }
      case 'object-add':
      case 'chardev-add':
        this.#add(text('id'), args)
        return
      case 'blockdev-del': {
        const node = text('node-name')
        const isUsed =
          [...this.devices.values()].some((device) => device.drive === node) || [...this.media.values()].includes(node)
        if (isUsed) throw new Refusal(`Node ${node} is in use`)
        this.#remove(node)
        return
      }
      case 'netdev_del': {
        const gone = this.backends.get(text('id'))
        for (const { str } of (gone?.hostfwd ?? []) as { str: string }[]) this.forwards.delete(str)
        this.#remove(text('id'))
        return
      }
      case 'object-del':
      case 'chardev-remove':
        this.#remove(text('id'))
        return
      case 'set_link':
        this.links.set(text('name'), args.up === true)
        return
      case 'qom-set': {
        const id = text('path').split('/').at(-1) ?? ''
        this.settings.set(`${id} ${text('property')}`, args.value)
        return
      }
      case 'human-monitor-command':
        return this.#monitor(text('command-line'))
      case 'watchdog-set-action':
        this.settings.set('wdt0 action', args.action)
        return
      case 'balloon':
        this.settings.set('balloon0 target', args.value)
        return
      case 'qom-list':
        return [
          { name: 'type', type: 'string' },
          ...[...this.devices].map(([name, device]) => ({ name, type: `child<${String(device.driver)}>` })),
        ]
      case 'query-hotpluggable-cpus':
        return Array.from({ length: this.maxCpus }, (_, index) => ({
          type: 'max-x86_64-cpu',
          props: { 'core-id': index },
          ...(index < this.cpus && {
            'qom-path': index === 0 ? '/machine/unattached/device[0]' : `/machine/peripheral/cpu-${index}`,
          }),
        })).toReversed()
      case 'blockdev-open-tray':
      case 'blockdev-close-tray':
        mustExist(text('id'))
        return
      case 'blockdev-remove-medium':
        this.media.delete(text('id'))
        return
      case 'blockdev-insert-medium':
        if (!this.backends.has(text('node-name'))) throw new Refusal(`Node ${text('node-name')} not found`)
        this.media.set(text('id'), text('node-name'))
        return
      case 'query-memory-size-summary':
        return { 'base-memory': 1 << 30, 'plugged-memory': 0 }
      case 'query-block':
      // No snapshot puts a layer over a disk of the model.
      case 'query-named-block-nodes':
        return []
      default:
        throw new Refusal(`The command ${command} is not modelled`)
    }
  }

  #monitor(line: string): string {
    if (line === 'info jit') return `gen code size       ${this.codeBytes}/268353536\r\n`
    const [command, , rule = ''] = line.split(' ')
    if (command === 'hostfwd_add') {
      this.forwards.add(rule)
      return ''
    }
    const found = [...this.forwards].find((one) => one.startsWith(`${rule}-`))
    if (found !== undefined) this.forwards.delete(found)
    return `host forwarding rule for ${rule} ${found === undefined ? 'not found' : 'removed'}\r\n`
  }

  #add(id: string, args: Args): void {
    if (this.backends.has(id)) throw new Refusal(`Duplicate nodes with node-name='${id}'`)
    this.backends.set(id, args)
  }

  #remove(id: string): void {
    if (!this.backends.delete(id)) throw new Refusal(`Failed to find node '${id}': not found`)
  }
}

const STAMP = { seconds: 1_700_000_000, microseconds: 0 }
