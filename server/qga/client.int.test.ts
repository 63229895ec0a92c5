import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cleanText, ping, readAddresses, requestShutdown } from './client.ts'

let dir: string
let path: string
let server: Server | null = null
const sockets = new Set<Socket>()

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'gd-qga-'))
  path = join(dir, 's')
})
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  server?.close()
  await rm(dir, { recursive: true, force: true })
})

type Message = { execute: string; arguments?: { id?: number } }
interface Talk {
  socket: Socket
  message: Message
  reply(value: unknown): void
  sync(): void
}

/** An agent that does as the script says. Bytes before the first brace, such as the sentinel, are skipped as qga does. */
async function agent(script: (talk: Talk) => void): Promise<Message[]> {
  const heard: Message[] = []
  server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end)
        text = text.slice(end + 1)
        const message = JSON.parse(line.slice(line.indexOf('{'))) as Message
        heard.push(message)
        const reply = (value: unknown) => socket.write(`${JSON.stringify(value)}\n`)
        const sync = () => {
          socket.write(Buffer.from([0xff]))
          reply({ return: message.arguments?.id })
        }
        script({ socket, message, reply, sync })
      }
    })
  })
  await new Promise<void>((resolve) => server?.listen(path, resolve))
  return heard
}

const honest =
  (answers: Record<string, unknown>) =>
  ({ message, reply, sync }: Talk) => {
    if (message.execute === 'guest-sync-delimited') sync()
    else if (message.execute in answers) reply(answers[message.execute])
  }

const link = (name: string, ...addresses: string[]) => ({
  name,
  'ip-addresses': addresses.map((address) => ({ 'ip-address': address, 'ip-address-type': 'ipv4', prefix: 24 })),
})

describe('the guest agent client', () => {
  test('reads addresses, without loopback and link-local', async () => {
    await agent(
      honest({
        'guest-network-get-interfaces': {
          return: [link('lo', '127.0.0.1'), link('eth0', '10.0.2.15', 'fe80::1', 'fd00::5'), { name: 'down0' }],
        },
      }),
    )
    expect(await readAddresses(path)).toEqual(['10.0.2.15', 'fd00::5'])
  })
  test('shows nothing that is not an address, and not too many (G01)', async () => {
    const many = Array.from({ length: 500 }, (_, n) => `10.0.${n >> 8}.${n & 255}`)
    await agent(
      honest({
        'guest-network-get-interfaces': {
          return: [link('eth0', '<img src=x onerror=alert(1)>', '\u001b[31m', ...many)],
        },
      }),
    )
    const addresses = await readAddresses(path)
    expect(addresses).toHaveLength(64)
    expect(addresses.every((address) => /^[0-9.]+$/.test(address))).toBe(true)
  })
  test('ignores what was left over from earlier conversations (G02)', async () => {
    await agent(({ socket, message, reply, sync }) => {
      if (message.execute === 'guest-sync-delimited') {
        socket.write('{"return": {"stale": true}}\n')
        socket.write(Buffer.from([0xff]))
        reply({ return: 424242 })
        sync()
      } else reply({ return: {} })
    })
    expect(await ping(path)).toBe(true)
  })
  test('gives up on an agent that never answers (G02, F43)', async () => {
    await agent(() => {})
    const begun = performance.now()
    await expect(ping(path, { timeoutMs: 200 })).rejects.toMatchObject({ kind: 'silent' })
    expect(performance.now() - begun).toBeLessThan(1500)
  })
  test('gives up on an agent that talks without end (G02)', async () => {
    await agent(({ socket, message, sync }) => {
      if (message.execute === 'guest-sync-delimited') sync()
      else {
        const flood = Buffer.alloc(1 << 18, 0x20)
        const more = () => {
          while (!socket.destroyed && socket.write(flood));
          if (!socket.destroyed) socket.once('drain', more)
        }
        more()
      }
    })
    await expect(ping(path)).rejects.toMatchObject({ kind: 'nonsense' })
  })
  test('says so when the channel is closed, or nobody is there', async () => {
    await agent(({ socket }) => socket.destroy())
    await expect(ping(path)).rejects.toMatchObject({ kind: 'closed' })
    await expect(ping(join(dir, 'none'))).rejects.toMatchObject({ kind: 'closed' })
  })
  test('can be withdrawn', async () => {
    await agent(() => {})
    const stop = new AbortController()
    const asked = ping(path, { signal: stop.signal })
    stop.abort()
    await expect(asked).rejects.toMatchObject({ kind: 'closed' })
  })
  test('asks for a shutdown, which is not answered when it is granted', async () => {
    const heard = await agent(honest({}))
    await requestShutdown(path, { timeoutMs: 1000 })
    expect(heard.map((message) => message.execute)).toEqual(['guest-sync-delimited', 'guest-shutdown'])
  })
  test('reports a shutdown that is refused, cleaned (G01)', async () => {
    await agent(
      honest({ 'guest-shutdown': { error: { class: 'GenericError', desc: `no\u001b[2J${'x'.repeat(999)}` } } }),
    )
    const refused = await requestShutdown(path).catch((error: unknown) => error)
    expect(refused).toMatchObject({
      kind: 'refused',
      message: expect.stringMatching(/^The guest agent refused: no\[2Jx+$/),
    })
    expect((refused as Error).message.length).toBeLessThan(300)
  })
})

test('text from a guest loses control, format and direction marks, and what is too much (G01)', () => {
  expect(cleanText('a\u0000b\u202ec\u200bd\u2028e')).toBe('abcde')
  expect(cleanText('é😀'.repeat(300))).toHaveLength(255 + 127)
})
