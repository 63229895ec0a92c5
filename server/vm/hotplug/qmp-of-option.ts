/**
 * The compiler's options as monitor commands, so that a device is described in one place whether it is there from the
 * start or plugged in later. `-device`, `-blockdev`, `-netdev` and `-object` hold the very JSON their commands take
 * (QEMU docs, "QMP Reference Manual"); `-chardev` is `key=value` and becomes a `ChardevBackend`. Pure.
 */
import * as z from 'zod'
import type { QmpJson } from '#server/qmp/types.ts'
import type { PlannedOption } from '#server/spec/types.ts'

export interface QmpCommand {
  readonly execute: string
  readonly arguments: { readonly [key: string]: QmpJson }
}

/** An option that can be added to and removed from a running QEMU. */
export interface PlugPart {
  /** QEMU's id, or the node name of a block node. */
  readonly id: string
  readonly kind: 'device' | 'blockdev' | 'netdev' | 'object' | 'chardev'
  readonly add: QmpCommand
  readonly remove: QmpCommand
}

const JsonObject = z.record(z.string(), z.json())

/** Null for an option that only a start understands. */
export function plugPart(option: PlannedOption): PlugPart | null {
  const [flag, value] = option.argv
  if (value === undefined || option.argv.length !== 2) return null
  if (flag === '-chardev') return chardevPart(value)
  if (!value.startsWith('{')) return null
  const args = JsonObject.parse(JSON.parse(value))
  switch (flag) {
    case '-device':
      return part('device', args, args.id, 'device_add', 'device_del', 'id')
    case '-blockdev':
      return part('blockdev', args, args['node-name'], 'blockdev-add', 'blockdev-del', 'node-name')
    case '-netdev':
      return part('netdev', args, args.id, 'netdev_add', 'netdev_del', 'id')
    case '-object':
      return part('object', args, args.id, 'object-add', 'object-del', 'id')
    default:
      return null
  }
}

function part(
  kind: PlugPart['kind'],
  args: { [key: string]: QmpJson },
  id: QmpJson | undefined,
  add: string,
  remove: string,
  key: string,
): PlugPart | null {
  if (typeof id !== 'string') return null
  return { id, kind, add: { execute: add, arguments: args }, remove: { execute: remove, arguments: { [key]: id } } }
}

/** Values of `-chardev` as QEMU reads them: split at single commas, doubled ones are commas (util/keyval.c). */
export function readKeyValues(text: string): Map<string, string> {
  const values = new Map<string, string>()
  for (const [index, piece] of splitEscaped(text).entries()) {
    const at = piece.indexOf('=')
    if (at < 0) values.set(index === 0 ? 'backend' : piece, index === 0 ? piece : 'on')
    else values.set(piece.slice(0, at), piece.slice(at + 1))
  }
  return values
}

function splitEscaped(text: string): string[] {
  const pieces: string[] = []
  let piece = ''
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] !== ',') piece += text[at]
    else if (text[at + 1] === ',') {
      piece += ','
      at += 1
    } else {
      pieces.push(piece)
      piece = ''
    }
  }
  return [...pieces, piece]
}

/** Backends the compiler gives to channels: `socket` on a unix path, `file`, `null`. */
function chardevPart(value: string): PlugPart | null {
  const values = readKeyValues(value)
  const id = values.get('id')
  const backend = values.get('backend')
  if (id === undefined || backend === undefined) return null
  const common: { [key: string]: QmpJson } = {}
  const logfile = values.get('logfile')
  if (logfile !== undefined) common.logfile = logfile
  const logappend = values.get('logappend')
  if (logappend !== undefined) common.logappend = logappend === 'on'
  const data = chardevData(backend, values)
  if (data === null) return null
  return {
    id,
    kind: 'chardev',
    add: { execute: 'chardev-add', arguments: { id, backend: { type: backend, data: { ...common, ...data } } } },
    remove: { execute: 'chardev-remove', arguments: { id } },
  }
}

function chardevData(backend: string, values: ReadonlyMap<string, string>): { [key: string]: QmpJson } | null {
  const path = values.get('path')
  switch (backend) {
    case 'null':
      return {}
    case 'file':
      return path === undefined ? null : { out: path, append: values.get('append') === 'on' }
    case 'socket':
      if (path === undefined) return null
      return {
        addr: { type: 'unix', data: { path } },
        server: values.get('server') === 'on',
        // QEMU refuses `wait` for a client.
        ...(values.get('server') === 'on' && { wait: values.get('wait') === 'on' }),
      }
    default:
      return null
  }
}
