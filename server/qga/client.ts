/**
 * The guest agent, as far as power and addresses need it (QEMU: qga/qapi-schema.json). Everything it says comes from
 * inside the guest and is hostile until cleaned: at most 1 MiB a message, at most 5 s, strings cut and stripped.
 *
 * Each call opens the channel, synchronises with `guest-sync-delimited`, asks, and leaves: the channel has one client,
 * and a conversation that never lasts cannot be poisoned by an earlier one.
 */
import { randomInt } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'
import * as z from 'zod'

const MESSAGE_MAX_BYTES = 1024 * 1024
const TEXT_MAX = 255
const ADDRESSES_MAX = 64
/** qga puts this byte before the answer to `guest-sync-delimited`; it never occurs in UTF-8. */
const SENTINEL = 0xff

export class AgentError extends Error {
  override readonly name = 'AgentError'
  readonly kind: 'silent' | 'closed' | 'refused' | 'nonsense'

  constructor(kind: AgentError['kind'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.kind = kind
  }
}

/** A string from the guest, fit to be shown: no control or format characters, at most 255 characters. */
export function cleanText(text: string): string {
  return [...text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu, '')].slice(0, TEXT_MAX).join('')
}

export interface AgentOptions {
  /** For the whole conversation. Milliseconds, default 5000. */
  timeoutMs?: number
  signal?: AbortSignal
}

const Reply = z.union([z.object({ return: z.unknown() }), z.object({ error: z.object({ desc: z.string() }) })])

/** One conversation. Not for use after `close`. */
class AgentConversation {
  readonly #socket: Socket
  #pending = Buffer.alloc(0)
  #failure: AgentError | null = null
  #wake: (() => void) | null = null

  constructor(path: string) {
    this.#socket = createConnection(path)
    this.#socket.on('data', (chunk: Buffer) => {
      if (this.#pending.length + chunk.length > MESSAGE_MAX_BYTES) {
        this.fail(new AgentError('nonsense', 'The guest agent sent more than 1 MiB without ending its message.'))
        return
      }
      this.#pending = Buffer.concat([this.#pending, chunk])
      this.#wake?.()
    })
    const gone = (cause?: Error) =>
      this.fail(new AgentError('closed', 'The guest agent channel closed.', cause && { cause }))
    this.#socket.on('error', gone)
    this.#socket.on('close', () => gone())
  }

  fail(error: AgentError): void {
    this.#failure ??= error
    this.#socket.destroy()
    this.#wake?.()
  }

  close(): void {
    this.#socket.destroy()
  }

  send(message: Uint8Array | string): void {
    this.#socket.write(message)
  }

  /** The next line. @throws AgentError closed, silent, nonsense */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#pending.indexOf(0x0a)
      if (end >= 0) {
        const line = this.#pending.subarray(0, end).toString('utf8')
        this.#pending = this.#pending.subarray(end + 1)
        return line
      }
      await this.#more()
    }
  }

  /** Throws away everything up to and including the next sentinel byte. */
  async skipToSentinel(): Promise<void> {
    for (;;) {
      const at = this.#pending.indexOf(SENTINEL)
      if (at >= 0) {
        this.#pending = this.#pending.subarray(at + 1)
        return
      }
      this.#pending = Buffer.alloc(0)
      await this.#more()
    }
  }

  async #more(): Promise<void> {
    if (this.#failure) throw this.#failure
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#wake = null
    if (this.#failure) throw this.#failure
  }
}

async function converse<T>(
  path: string,
  options: AgentOptions,
  talk: (conversation: AgentConversation) => Promise<T>,
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 5000
  options.signal?.throwIfAborted()
  const conversation = new AgentConversation(path)
  const timer = setTimeout(
    () => conversation.fail(new AgentError('silent', `The guest agent did not answer within ${timeoutMs} ms.`)),
    timeoutMs,
  )
  const onAbort = () => conversation.fail(new AgentError('closed', 'The question to the guest agent was withdrawn.'))
  options.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const id = randomInt(1, 2 ** 31)
    // The leading sentinel makes the agent drop half a command an earlier client may have left in its parser.
    conversation.send(Buffer.concat([Buffer.from([SENTINEL]), request('guest-sync-delimited', { id })]))
    // Answers to others' questions may come first, each sync answer behind a sentinel of its own.
    for (;;) {
      await conversation.skipToSentinel()
      const reply = parse(await conversation.line())
      if (reply && 'return' in reply && reply.return === id) break
    }
    return await talk(conversation)
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', onAbort)
    conversation.close()
  }
}

function request(command: string, args?: Record<string, unknown>): Buffer {
  return Buffer.from(`${JSON.stringify({ execute: command, ...(args && { arguments: args }) })}\n`)
}

function parse(line: string): z.output<typeof Reply> | null {
  try {
    const parsed = Reply.safeParse(JSON.parse(line))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}

async function ask(conversation: AgentConversation, command: string): Promise<unknown> {
  conversation.send(request(command))
  const reply = parse(await conversation.line())
  if (!reply) throw new AgentError('nonsense', `The guest agent's answer to ${command} makes no sense.`)
  if ('error' in reply) throw new AgentError('refused', `The guest agent refused: ${cleanText(reply.error.desc)}`)
  return reply.return
}

const Interfaces = z.array(
  z.object({
    name: z.string(),
    'ip-addresses': z.array(z.object({ 'ip-address': z.string() })).optional(),
  }),
)

/**
 * Addresses of the guest's interfaces, without loopback and link-local, at most 64, cleaned.
 * @throws AgentError
 */
export function readAddresses(path: string, options: AgentOptions = {}): Promise<string[]> {
  return converse(path, options, async (conversation) => {
    const parsed = Interfaces.safeParse(await ask(conversation, 'guest-network-get-interfaces'))
    if (!parsed.success) throw new AgentError('nonsense', "The guest agent's list of interfaces makes no sense.")
    return parsed.data
      .filter((link) => link.name !== 'lo')
      .flatMap((link) => link['ip-addresses'] ?? [])
      .map((address) => cleanText(address['ip-address']))
      .filter((address) => /^[0-9a-f.:]{2,45}$/i.test(address) && !/^(127\.|::1$|fe80:)/i.test(address))
      .slice(0, ADDRESSES_MAX)
  })
}

/** True when a program answers on the channel. @throws AgentError */
export function ping(path: string, options: AgentOptions = {}): Promise<true> {
  return converse(path, options, async (conversation) => {
    await ask(conversation, 'guest-ping')
    return true as const
  })
}

/**
 * Asks the guest's system to shut down. Returns once the request is on its way: the agent does not answer it
 * (qga: `guest-shutdown`, success-response false). A refusal that comes at once is reported.
 * @throws AgentError
 */
export function requestShutdown(path: string, options: AgentOptions = {}): Promise<void> {
  return converse(path, options, async (conversation) => {
    conversation.send(request('guest-shutdown', { mode: 'powerdown' }))
    const refused = conversation.line().then(
      (line) => {
        const reply = parse(line)
        return reply !== null && 'error' in reply ? cleanText(reply.error.desc) : null
      },
      () => null,
    )
    let timer: NodeJS.Timeout | undefined
    const quiet = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, 200, null)
    })
    const refusal = await Promise.race([refused, quiet])
    clearTimeout(timer)
    if (refusal !== null) throw new AgentError('refused', `The guest agent refused: ${refusal}`)
  })
}

const Count = z.number().int().nonnegative()

/**
 * Holds all file systems of the guest still, everything on disk. Whoever calls this thaws, whatever happens.
 * @returns how many file systems there are
 * @throws AgentError
 */
export function freezeFileSystems(path: string, options: AgentOptions = {}): Promise<number> {
  return converse(path, options, async (conversation) => {
    const count = Count.safeParse(await ask(conversation, 'guest-fsfreeze-freeze'))
    if (!count.success) throw new AgentError('nonsense', "The guest agent's answer to the freeze makes no sense.")
    return count.data
  })
}

/** Lets them go on. Harmless when none is frozen. @throws AgentError */
export function thawFileSystems(path: string, options: AgentOptions = {}): Promise<number> {
  return converse(path, options, async (conversation) => {
    const count = Count.safeParse(await ask(conversation, 'guest-fsfreeze-thaw'))
    return count.success ? count.data : 0
  })
}
