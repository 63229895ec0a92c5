/**
 * Sends the activity log to where an intruder on this host cannot change it: a syslog server, a webhook. Each sink
 * remembers the last line it has taken, so that nothing is lost over restarts or while it is away (a line may be sent
 * twice then, never skipped). A sink that is away costs nobody else anything.
 */
import { createHmac } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { hostname } from 'node:os'
import type { Store } from '#server/store/types.ts'

export type ShippedLine = ReturnType<Store['logAfter']>[number]

export interface Sink {
  /** Key of its position in the store. */
  readonly name: string
  /** Resolves when it has taken them all. */
  send(lines: readonly ShippedLine[], signal: AbortSignal): Promise<void>
}

const BATCH = 200
const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 60_000
const SEND_MS = 10_000

export interface Shipper {
  close(): void
}

export function startShipper(
  store: Store,
  sinks: readonly Sink[],
  warn: (message: string, error?: unknown) => void,
): Shipper {
  const stop = new AbortController()
  const runs = sinks.map((sink) => runSink(store, sink, stop.signal, warn))
  const unsubscribe = store.onLog(() => {
    for (const run of runs) run.nudge()
  })
  return {
    close() {
      stop.abort()
      unsubscribe()
    },
  }
}

function runSink(store: Store, sink: Sink, signal: AbortSignal, warn: (message: string, error?: unknown) => void) {
  const key = `audit-sent:${sink.name}`
  const known = store.get<number>('meta', key)?.value
  // A sink that is new gets what happens from now on, and not years of history at once.
  let sent = typeof known === 'number' ? known : (store.activity({ limit: 1 })[0]?.id ?? 0)
  if (known === undefined) store.put('meta', key, sent)
  let pauseMs = FIRST_PAUSE_MS
  let isSending = false
  let isWaiting = false
  let isComplaining = false

  const work = async (): Promise<void> => {
    if (isSending || isWaiting || signal.aborted) return
    isSending = true
    try {
      for (;;) {
        const lines = store.logAfter(sent, BATCH)
        const last = lines.at(-1)
        if (last === undefined) break
        await sink.send(lines, AbortSignal.any([signal, AbortSignal.timeout(SEND_MS)]))
        if (signal.aborted) return
        sent = last.id
        store.put('meta', key, sent)
        pauseMs = FIRST_PAUSE_MS
        isComplaining = false
      }
    } catch (error) {
      if (signal.aborted) return
      if (!isComplaining)
        warn(`The activity log cannot be sent to ${sink.name}; it is tried again until it can.`, error)
      isComplaining = true
      isWaiting = true
      setTimeout(() => {
        isWaiting = false
        void work()
      }, pauseMs).unref()
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
    } finally {
      isSending = false
    }
  }
  void work()
  return {
    nudge: () => void work(),
  }
}

/** RFC 5424: facility 10 (security), severity by result; one line whatever the text. Pure but for the host's name. */
export function syslogMessage(line: ShippedLine, host = hostname()): string {
  const severity = { ok: 6, info: 6, denied: 4, failed: 3 }[line.result]
  const escaped = (text: string) => text.replace(/["\\\]]/g, '\\$&').replace(/[\p{Cc}]/gu, ' ')
  const data = [
    ['id', String(line.id)],
    ['what', line.what],
    ['who', line.who],
    ['from', line.from],
    ['object', line.objectId],
    ['hash', line.hash],
  ]
    .flatMap(([name, value]) => (value == null ? [] : [`${name}="${escaped(value)}"`]))
    .join(' ')
  // 32473 is the number IANA reserves for examples; Guestdeck has none of its own.
  return `<${10 * 8 + severity}>1 ${line.at} ${host} guestdeck - ${line.what} [guestdeck@32473 ${data}] ${line.text.replace(/[\p{Cc}]/gu, ' ')}`
}

export function syslogSink(url: URL): Sink {
  const port = Number(url.port === '' ? 514 : url.port)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const name = `syslog ${url.protocol}//${url.host}`
  if (url.protocol === 'udp:') {
    return {
      name,
      send: async (lines) => {
        const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
        try {
          for (const line of lines)
            await new Promise<void>((resolve, reject) =>
              socket.send(syslogMessage(line), port, host, (error) => (error === null ? resolve() : reject(error))),
            )
        } finally {
          socket.close()
        }
      },
    }
  }
  return {
    name,
    send: (lines, signal) =>
      new Promise<void>((resolve, reject) => {
        const socket = connect({ host, port, signal })
        socket.once('error', reject)
        // Octet counting, RFC 6587: a line end inside cannot split a message.
        const text = lines.map((line) => syslogMessage(line)).map((m) => `${Buffer.byteLength(m)} ${m}`)
        socket.end(text.join(''), () => resolve())
      }),
  }
}

/** @param secret signs each body: `X-Guestdeck-Signature: sha256=HEX` */
export function webhookSink(url: URL, secret: string | null): Sink {
  return {
    name: `webhook ${url.origin}${url.pathname}`,
    async send(lines, signal) {
      const body = JSON.stringify({ lines })
      const answer = await fetch(url, {
        method: 'POST',
        redirect: 'error',
        headers: {
          'content-type': 'application/json',
          ...(secret !== null && {
            'x-guestdeck-signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
          }),
        },
        body,
        signal,
      })
      await answer.body?.cancel()
      if (!answer.ok) throw new Error(`answered ${answer.status}`)
    },
  }
}
