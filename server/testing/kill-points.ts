/**
 * For tests: ends a process at a named point of the dashboard's work. Loaded before the dashboard
 * (`node --import`), it watches what goes over the dashboard's borders, and nothing inside it, so that what is tested is
 * what runs. Points, in the order they are passed:
 *
 *   > snapshot-save          before a command to QEMU or its guest's agent is sent
 *   < snapshot-save          its answer has come and nobody has seen it yet
 *   ! snapshot-save          it was refused
 *   + snapshot complete      a document is about to be stored, with its state
 *   = snapshot complete      it is stored for good
 *   - volume                 a document is about to be removed
 *   exec PRAGMA …            before the database is told something that is not about one document
 *   run qemu-img snapshot    before a program starts
 *   rename vms/…/x           before a file takes its name; `renamed` after it has
 *   link images/x            before a file gets a second name
 *   rm images/x              before a file or directory goes; `gone` after it has
 *
 * The file named by GUESTDECK_TEST_KILL says what to do, `{"at": "^< snapshot-save", "nth": 1, "pid": 123}`, and goes when
 * the point is reached; without a pid the dashboard itself ends. A signal SIGSTOP holds it there. All points are listed in the file beside it (`.log`).
 */
import childProcess from 'node:child_process'
import { openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { Socket } from 'node:net'
import { DatabaseSync, type SQLInputValue, StatementSync } from 'node:sqlite'
import { isMainThread } from 'node:worker_threads'
import * as z from 'zod'
import { createKiller } from './kill-other.ts'

const Order = z.object({
  at: z.string(),
  nth: z.number().default(1),
  pid: z.number().nullable().default(null),
  signal: z.enum(['SIGKILL', 'SIGSTOP']).default('SIGKILL'),
})
const file = process.env.GUESTDECK_TEST_KILL ?? ''
// Both while we are root still.
const log = file === '' || !isMainThread ? -1 : openSync(`${file}.log`, 'a', 0o644)
const end = file !== '' && isMainThread ? createKiller(`${file}.pipe`) : null
let passed = 0

function point(name: string): void {
  writeSync(log, `${name}\n`)
  let order: z.output<typeof Order>
  try {
    order = Order.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return
  }
  if (!new RegExp(order.at).test(name)) return
  passed += 1
  if (passed < order.nth) return
  passed = 0
  rmSync(file)
  end?.(order.pid ?? process.pid, order.signal)
}

const Asked = z.object({ execute: z.string(), id: z.number().optional() })
const Answer = z.object({ id: z.number().optional(), return: z.unknown().optional(), error: z.unknown().optional() })
const parse = <T>(schema: z.ZodType<T>, text: string): T | null => {
  try {
    return schema.safeParse(JSON.parse(text.replace(/^[^{]*/, ''))).data ?? null
  } catch {
    return null
  }
}

function watchSockets(): void {
  /** Commands that have no answer yet, and the beginning of a line. Agents' and monitors' alone. */
  const open = new WeakMap<Socket, { asked: z.output<typeof Asked>[]; rest: string }>()
  const write = Socket.prototype.write
  // biome-ignore lint/suspicious/noExplicitAny: passes on whatever it was called with
  Socket.prototype.write = function (this: Socket, ...args: any[]): boolean {
    const [message] = args
    const text = typeof message === 'string' ? message : Buffer.isBuffer(message) ? message.toString('latin1') : ''
    const command = /^\xff?\{"execute"/.test(text) ? parse(Asked, text) : null
    if (command !== null) {
      point(`> ${command.execute}`)
      const line = open.get(this) ?? { asked: [], rest: '' }
      line.asked.push(command)
      open.set(this, line)
    }
    return write.apply(this, args as Parameters<typeof write>)
  } as typeof write
  const emit = Socket.prototype.emit
  // biome-ignore lint/suspicious/noExplicitAny: passes on whatever it was called with
  Socket.prototype.emit = function (this: Socket, event: string | symbol, ...args: any[]): boolean {
    const line = event === 'data' ? open.get(this) : undefined
    if (line !== undefined) {
      const lines = (line.rest + String(args[0])).split('\n')
      line.rest = lines.pop() ?? ''
      for (const one of lines) {
        const answer = /"(return|error)"/.test(one) ? parse(Answer, one) : null
        if (answer === null || (answer.return === undefined && answer.error === undefined)) continue
        // Monitors say which command they answer; agents answer one after the other.
        const at = answer.id === undefined ? 0 : line.asked.findIndex(({ id }) => id === answer.id)
        const [command] = at < 0 ? [] : line.asked.splice(at, 1)
        if (command !== undefined) point(`${answer.error === undefined ? '<' : '!'} ${command.execute}`)
      }
    }
    return emit.apply(this, [event, ...args] as Parameters<typeof emit>)
  } as typeof emit
}

function watchStore(): void {
  /** Documents of the open transaction. */
  let held: string[] | null = null
  const nameOf = (values: readonly SQLInputValue[]): string | null => {
    const text = values.find((value) => typeof value === 'string' && /^[{[]/.test(value))
    const [collection] = values.map(String).filter((value) => /^[a-z-]+$/.test(value))
    if (typeof text !== 'string' || collection === undefined) return null
    const state = /"state":"([a-z]+)"/.exec(text)?.[1]
    return state === undefined ? `${collection} ${keyOf(values)}` : `${collection} ${state}`
  }
  const keyOf = (values: readonly SQLInputValue[]) =>
    values.flatMap((value) => /^([a-z]+(?:-[a-z]+)*):/.exec(String(value))?.[1] ?? []).join(' ')
  for (const method of ['all', 'run'] as const) {
    const plain = StatementSync.prototype[method] as (...values: SQLInputValue[]) => unknown
    StatementSync.prototype[method] = function (this: StatementSync, ...values: SQLInputValue[]) {
      const isDelete = /^\s*DELETE FROM document/.test(this.sourceSQL)
      const name = /^\s*(INSERT INTO|UPDATE) document/.test(this.sourceSQL) ? nameOf(values) : null
      if (isDelete) point(`- ${String(values[0])}`)
      if (name !== null) point(`+ ${name}`)
      const result = plain.apply(this, values)
      if (name !== null) {
        if (held === null) point(`= ${name}`)
        else held.push(name)
      }
      return result
    } as never
  }
  const exec = DatabaseSync.prototype.exec
  DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string): void {
    if (!/^(BEGIN|ROLLBACK)/.test(sql)) point(`exec ${sql.trim().slice(0, 60)}`)
    if (sql.startsWith('BEGIN')) held = []
    exec.call(this, sql)
    if (sql !== 'COMMIT' && sql !== 'ROLLBACK') return
    const names = sql === 'COMMIT' ? (held ?? []) : []
    held = null
    for (const name of names) point(`= ${name}`)
  }
}

function watchPrograms(): void {
  const spawn = childProcess.spawn
  // biome-ignore lint/suspicious/noExplicitAny: passes on whatever it was called with
  childProcess.spawn = ((...args: any[]) => {
    const line = [args[0], ...(Array.isArray(args[1]) ? args[1] : [])].map(String)
    const at = line.findLastIndex((word) => /(^|\/)(qemu-(img|system-[a-z0-9_]+)|supermin|virt-sysprep)$/.test(word))
    if (at >= 0)
      point(
        `run ${line
          .slice(at, at + 2)
          .join(' ')
          .replace(/^.*\//, '')}`,
      )
    return spawn(...(args as Parameters<typeof spawn>))
  }) as typeof spawn
  const rename = fs.rename
  fs.rename = async (from, to) => {
    point(`rename ${String(to)}`)
    await rename(from, to)
    point(`renamed ${String(to)}`)
  }
  const { link, rm } = fs
  fs.link = async (from, to) => {
    point(`link ${String(to)}`)
    await link(from, to)
  }
  fs.rm = async (path, options) => {
    point(`rm ${String(path)}`)
    await rm(path, options)
    point(`gone ${String(path)}`)
  }
  syncBuiltinESMExports()
}

if (file !== '' && isMainThread) {
  watchSockets()
  watchStore()
  watchPrograms()
}
