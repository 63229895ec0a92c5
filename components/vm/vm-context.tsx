'use client'
import { createContext, type ReactNode, useContext } from 'react'
import type { Vm } from '#lib/schema/vm-state.ts'

const Context = createContext<Vm | null>(null)

/** Makes one VM known to everything inside; the VM layout provides it. */
export function VmProvider({ vm, children }: { readonly vm: Vm; readonly children: ReactNode }) {
  return <Context value={vm}>{children}</Context>
}

/** The VM of this page, as current as the event stream. Only inside `VmProvider`. */
export function useVm(): Vm {
  const vm = useContext(Context)
  if (!vm) throw new Error('useVm was called outside VmProvider')
  return vm
}
