/**
 * `guestdeck image upload FILE`: a client of the API, which works from any machine that reaches the dashboard. Plain
 * JavaScript over the tus protocol: pieces of 64 MiB, each tried again when the connection breaks; a file whose upload
 * ended early goes on where it stood.
 */
import { open } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { basename } from 'node:path'
import { Readable } from 'node:stream'
import { parseArgs } from 'node:util'

const USAGE = `Usage: guestdeck image upload FILE [options]

  --server URL     address of the dashboard (default GUESTDECK_URL or http://127.0.0.1:8686)
  --token-stdin    read the API token from standard input (default GUESTDECK_TOKEN)
  --name NAME      name in the library (default: that of the file)
  --sha256 HEX     refuse the file when it arrives with another checksum
  --quiet          print the image's id alone
`
const PIECE_BYTES = 64 * 2 ** 20
const TRIES = 8
const POLL_MS = 500
const TIMEOUT_MS = 120_000

class Refused extends Error {}
const say = (line) => process.stderr.write(line)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const base64 = (text) => Buffer.from(text).toString('base64')

/** @returns status, headers and body @throws Error when no answer comes */
function send(server, token, method, path, headers = {}, body = null) {
  const url = new URL(path, server)
  return new Promise((resolve, reject) => {
    const outgoing = (url.protocol === 'https:' ? httpsRequest : httpRequest)(
      url,
      {
        method,
        headers: { authorization: `Bearer ${token}`, 'tus-resumable': '1.0.0', ...headers },
        timeout: TIMEOUT_MS,
      },
      (answer) => {
        const chunks = []
        answer.on('data', (chunk) => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8')
          let json = null
          try {
            json = JSON.parse(text)
          } catch {
            // An answer without a body.
          }
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, json })
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')))
    outgoing.on('error', reject)
    if (body === null) outgoing.end()
    else {
      body.on('error', (error) => outgoing.destroy(error))
      body.pipe(outgoing)
    }
  })
}

function progress(name, total, quiet) {
  const startedAt = performance.now()
  let shownAt = 0
  let first = null
  return (done, end = false) => {
    first ??= done
    const now = performance.now()
    if (quiet || (!end && now - shownAt < 500)) return
    shownAt = now
    const rate = (done - first) / Math.max(0.001, (now - startedAt) / 1000)
    const left = rate > 0 && !end ? `, ${Math.ceil((total - done) / rate)} s left` : ''
    const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1)
    say(`\r${name}: ${mebibytes(done)} of ${mebibytes(total)} MiB, ${mebibytes(rate)} MiB/s${left}        `)
    if (end) say('\n')
  }
}

/** @param args what follows `image upload` @returns exit code */
export async function imageUpload(args) {
  let options
  try {
    options = parseArgs({
      args,
      allowPositionals: true,
      options: {
        server: { type: 'string' },
        'token-stdin': { type: 'boolean' },
        name: { type: 'string' },
        sha256: { type: 'string' },
        quiet: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    say(`guestdeck: ${error.message}\n${USAGE}`)
    return 2
  }
  const { values, positionals } = options
  if (values.help) {
    process.stdout.write(USAGE)
    return 0
  }
  const [file] = positionals
  if (file === undefined || positionals.length > 1) {
    say(`guestdeck: name one file\n${USAGE}`)
    return 2
  }
  let token = process.env.GUESTDECK_TOKEN ?? ''
  if (values['token-stdin']) {
    token = ''
    for await (const chunk of process.stdin) token += chunk
  }
  token = token.trim()
  if (token === '') {
    say('guestdeck: no API token. Make one with "guestdeck token create" and set GUESTDECK_TOKEN.\n')
    return 2
  }
  const server = values.server ?? process.env.GUESTDECK_URL ?? 'http://127.0.0.1:8686'
  let handle
  try {
    // Held open, so that another file of the same name cannot slip in between two pieces.
    handle = await open(file, 'r')
    const id = await upload({
      handle,
      server,
      token,
      file,
      name: values.name ?? basename(file),
      sha256: values.sha256,
      quiet: values.quiet === true,
    })
    process.stdout.write(`${id}\n`)
    return 0
  } catch (error) {
    say(`guestdeck: ${error.message}\n`)
    return 1
  } finally {
    await handle?.close()
  }
}

/** A part of the file; the stream may end early without closing it. */
async function* bytesOf(handle, from, length, onRead) {
  for (let done = 0; done < length; ) {
    const buffer = Buffer.allocUnsafe(Math.min(2 ** 20, length - done))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, from + done)
    if (bytesRead === 0) throw new Error('the file became shorter')
    done += bytesRead
    yield buffer.subarray(0, bytesRead)
    onRead(from + done)
  }
}

async function upload({ server, token, file, handle, name, sha256, quiet }) {
  const facts = await handle.stat()
  if (!facts.isFile()) throw new Refused(`${file} is not a regular file.`)
  const lastModified = Math.floor(facts.mtimeMs)
  const call = (method, path, headers, body) => send(server, token, method, path, headers, body)
  const expect = (answer, status) => {
    if (answer.status !== status)
      throw new Refused(answer.json?.error?.message ?? `The dashboard answers ${answer.status}.`)
    return answer
  }
  const list = expect(await call('GET', '/api/v1/images/uploads'), 200).json.items
  let session = list.find(
    (one) =>
      one.name === name &&
      one.sizeBytes === facts.size &&
      one.lastModifiedMs === lastModified &&
      one.state === 'waiting',
  )
  if (session === undefined) {
    const metadata = [`filename ${base64(name)}`, `lastmodified ${base64(String(lastModified))}`]
    if (sha256 !== undefined) metadata.push(`sha256 ${base64(sha256.toLowerCase())}`)
    const headers = { 'upload-length': String(facts.size), 'upload-metadata': metadata.join(',') }
    session = expect(await call('POST', '/api/v1/images/uploads', headers), 201).json
  } else if (!quiet) say(`Going on with ${name} at ${session.offsetBytes} bytes.\n`)
  const path = `/api/v1/images/uploads/${session.id}`
  const show = progress(name, facts.size, quiet)

  let { offsetBytes: offset, jobId } = session
  let failures = 0
  while (offset < facts.size) {
    const length = Math.min(PIECE_BYTES, facts.size - offset)
    const body = Readable.from(bytesOf(handle, offset, length, show), { objectMode: false })
    let answer = null
    try {
      answer = await call(
        'PATCH',
        path,
        {
          'content-type': 'application/offset+octet-stream',
          'upload-offset': String(offset),
          'content-length': String(length),
        },
        body,
      )
    } catch (error) {
      if (failures >= TRIES)
        throw new Error(
          `The connection to the dashboard is lost (${error.message}). Run the same command again to go on.`,
        )
    }
    body.destroy()
    if (answer?.status === 204) {
      offset = Number(answer.headers['upload-offset'])
      failures = 0
      continue
    }
    if (answer !== null && ![409, 500, 502, 503].includes(answer.status)) expect(answer, 204)
    failures += 1
    if (failures > TRIES) throw new Refused(answer?.json?.error?.message ?? 'The dashboard does not take the file.')
    await sleep(Math.min(30_000, 500 * 2 ** failures))
    const head = await call('HEAD', path).catch(() => null)
    if (head?.status === 404) throw new Refused('The upload was cancelled, or expired.')
    if (head?.status === 200) offset = Number(head.headers['upload-offset'])
  }
  show(facts.size, true)
  if (!quiet) say('The host checks the file.\n')
  for (;;) {
    const view = await call('GET', path)
    if (view.status === 200) {
      jobId = view.json.jobId ?? jobId
      if (view.json.state === 'held' && view.json.problem !== null) throw new Refused(view.json.problem)
      await sleep(POLL_MS)
      continue
    }
    const image = await call('GET', `/api/v1/images/${session.id}`)
    if (image.status === 200) return session.id
    const job = jobId === null ? null : await call('GET', `/api/v1/jobs/${jobId}`)
    throw new Refused(job?.json?.error?.message ?? 'The upload was cancelled.')
  }
}
