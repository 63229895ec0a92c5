'use client'
import { useSyncExternalStore } from 'react'
import type { Store } from './store.ts'

/** Follows a store; renders again when its value changes. */
export const useStore = <T>(store: Store<T>): T => useSyncExternalStore(store.subscribe, store.get, store.get)
