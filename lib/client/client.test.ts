import { afterEach, expect, test, vi } from 'vitest'
import { ApiError, call, operationUrl, setSignedOutListener } from './api-client.ts'
import { eachLimited } from './each-limited.ts'
import { eventsUrl, nextSeen, reconnectDelayMs } from './events.ts'
import { createStore } from './store.ts'
import { describeDetails, dismissToast, showToast, toastError, toasts } from './toasts.ts'
import { transferRate } from './upload.ts'

afterEach(() => {
  vi.unstubAllGlobals()
  toasts.set([])
})

/** The network is the one thing that does not run here. */
const answers = (status: number, body: string) => {
  const fetched = vi.fn(
    async (_url: string, _init: RequestInit) => new Response(status === 204 ? null : body, { status }),
  )
  vi.stubGlobal('fetch', fetched)
  return fetched
}

test('parameters are escaped and absent query values left out', () => {
  expect(operationUrl('vmView', { params: { id: '../x?y' } })).toBe('/api/v1/vms/..%2Fx%3Fy')
  expect(operationUrl('imageUpload', { query: { name: 'a b&c.iso' } })).toBe('/api/v1/images/upload?name=a+b%26c.iso')
  expect(operationUrl('vmScreenshot', { params: { id: 'a' }, query: {} })).toBe('/api/v1/vms/a/screenshot.png')
})

test('an update carries the revision it was made from', async () => {
  const fetched = answers(200, '{"id":"a"}')
  await call('vmUpdate', { params: { id: 'a' }, body: { memoryMiB: 512 } }, { ifMatch: 7 })
  const init = fetched.mock.calls[0]?.[1]
  expect(init?.method).toBe('PATCH')
  expect(init?.headers).toMatchObject({ 'if-match': '"7"', 'content-type': 'application/json' })
  expect(init?.body).toBe('{"memoryMiB":512}')
})

test('a refusal becomes an ApiError with everything the server said', async () => {
  answers(
    409,
    '{"error":{"code":"name_taken","message":"Taken.","field":"name","requestId":"r1","details":{"by":"x"}}}',
  )
  const error = await call('vmList', {}).catch((cause: unknown) => cause)
  expect(error).toBeInstanceOf(ApiError)
  expect(error).toMatchObject({ code: 'name_taken', status: 409, field: 'name', requestId: 'r1', details: { by: 'x' } })
})

test('an answer that is not ours is still an ApiError', async () => {
  answers(502, '<html>Bad gateway</html>')
  await expect(call('vmList', {})).rejects.toMatchObject({ code: 'internal', status: 502 })
})

test('no answer at all is a network error, but an abort stays an abort', async () => {
  vi.stubGlobal('fetch', async () => Promise.reject(new TypeError('failed')))
  await expect(call('vmList', {})).rejects.toMatchObject({ code: 'network', status: 0 })
  const signal = AbortSignal.abort()
  await expect(call('vmList', {}, { signal })).rejects.toBeInstanceOf(TypeError)
})

test('only a missing session reports that nobody is signed in; a wrong password does not', async () => {
  const signedOut = vi.fn()
  setSignedOutListener(signedOut)
  answers(401, '{"error":{"code":"bad_credentials","message":"","requestId":"r"}}')
  await call('sessionCreate', { body: { name: 'a', password: 'b' } }).catch(() => {})
  expect(signedOut).not.toHaveBeenCalled()
  answers(401, '{"error":{"code":"unauthenticated","message":"","requestId":"r"}}')
  await call('vmList', {}).catch(() => {})
  expect(signedOut).toHaveBeenCalledOnce()
  setSignedOutListener(() => {})
})

test('204 answers with nothing', async () => {
  answers(204, '')
  expect(await call('sessionDelete', {})).toBeUndefined()
})

test('the event stream resumes where it was, on the same origin', () => {
  expect(eventsUrl('https://deck.example:8686/vms?q=1', null)).toBe('wss://deck.example:8686/api/v1/events')
  expect(eventsUrl('http://127.0.0.1:8686/', { epoch: 'e 1', seq: 42 })).toBe(
    'ws://127.0.0.1:8686/api/v1/events?since=42&epoch=e+1',
  )
})

test('what was seen only grows within a server run, and starts over with the next', () => {
  expect(nextSeen({ epoch: 'a', seq: 9 }, { epoch: 'a', seq: 4 })).toEqual({ epoch: 'a', seq: 9 })
  expect(nextSeen({ epoch: 'a', seq: 9 }, { epoch: 'b', seq: 1 })).toEqual({ epoch: 'b', seq: 1 })
  expect(nextSeen(null, { epoch: 'a', seq: 3 })).toEqual({ epoch: 'a', seq: 3 })
})

test('waiting between attempts doubles up to ten seconds and is spread by a third', () => {
  expect([0, 1, 2, 20].map((attempt) => reconnectDelayMs(attempt, 0))).toEqual([300, 600, 1200, 10_000])
  expect(reconnectDelayMs(20, 1)).toBeCloseTo(6_667, 0)
})

test('a failure is told once: never beside the sign-in page, never more than four at a time', () => {
  toastError(new ApiError({ code: 'unauthenticated', message: 'x', status: 401 }), 'No')
  expect(toasts.get()).toEqual([])
  for (let n = 0; n < 6; n += 1) toastError(new ApiError({ code: 'busy', message: `m${n}`, status: 503 }), 'No')
  expect(toasts.get().map((toast) => toast.message)).toEqual(['m2', 'm3', 'm4', 'm5'])
  const id = showToast({ kind: 'error', title: 'x' })
  dismissToast(id)
  expect(toasts.get().some((toast) => toast.id === id)).toBe(false)
})

test('evidence names the code and the request, so that it can be found in the log', () => {
  const text = describeDetails(
    new ApiError({
      code: 'launch_failed',
      message: '',
      status: 500,
      requestId: 'r9',
      details: { exitCode: 1, stderr: 'boom' },
    }),
  )
  expect(text.split('\n')).toEqual(['exitCode: 1', 'stderr: boom', 'code: launch_failed (500)', 'request: r9'])
})

test('a store tells its listeners about changes only', () => {
  const store = createStore(1)
  const heard = vi.fn()
  const stop = store.subscribe(heard)
  store.set(1)
  store.set((n) => n + 1)
  stop()
  store.set(5)
  expect(heard).toHaveBeenCalledOnce()
  expect(store.get()).toBe(5)
})

test('transfer speed needs two samples at different times', () => {
  expect(transferRate([])).toBeNull()
  expect(transferRate([[0, 0]])).toBeNull()
  expect(
    transferRate([
      [0, 0],
      [0, 9],
    ]),
  ).toBeNull()
  expect(
    transferRate([
      [0, 0],
      [2_000, 1_000],
    ]),
  ).toBe(500)
})

test('limited work never exceeds its limit, finishes all, and reports a failure at the end', async () => {
  let running = 0
  let most = 0
  const done: number[] = []
  const work = eachLimited([1, 2, 3, 4, 5], 2, async (n) => {
    running += 1
    most = Math.max(most, running)
    await new Promise((resolve) => setTimeout(resolve, 1))
    running -= 1
    done.push(n)
    if (n === 2) throw new Error('two')
  })
  await expect(work).rejects.toThrow('two')
  expect(most).toBe(2)
  expect(done.toSorted()).toEqual([1, 2, 3, 4, 5])
})
