'use client'
import { useSyncExternalStore } from 'react'

// One timer for all relative times on the page; it runs only while somebody looks.
const STEP_MS = 5_000
const listeners = new Set<() => void>()
let timer: ReturnType<typeof setInterval> | undefined
let now = 0

const subscribe = (listener: () => void) => {
  listeners.add(listener)
  now = Date.now()
  timer ??= setInterval(() => {
    if (document.visibilityState !== 'visible') return
    now = Date.now()
    for (const tell of listeners) tell()
  }, STEP_MS)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) {
      clearInterval(timer)
      timer = undefined
    }
  }
}
const read = () => {
  // Before the first subscriber (first render) the clock has not been read yet.
  if (now === 0) now = Date.now()
  return now
}

/** The time, refreshed every five seconds; 0 while rendering on the server. */
export const useNow = (): number => useSyncExternalStore(subscribe, read, () => 0)
