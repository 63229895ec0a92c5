'use client'
import { useQueryClient } from '@tanstack/react-query'
import { useEffect } from 'react'
import { applyEvent } from '#lib/client/event-cache.ts'
import { openEventStream } from '#lib/client/events.ts'
import { forgetRestart, restarts } from '#lib/client/restarts.ts'
import { useUser } from '#lib/client/session.ts'
import type { DeckEvent } from '#lib/schema/event.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** Holds the event stream open while somebody is signed in, and lets it write into the query cache. */
export function EventBridge() {
  const client = useQueryClient()
  const userId = useUser()?.id
  useEffect(() => {
    if (!userId) return
    return openEventStream({
      onEvent: (event) => {
        applyEvent(client, event)
        const vm = vmOf(event)
        if (vm && restarts.get().has(vm.id) && vm.state !== 'stopping' && vm.state !== 'paused') forgetRestart(vm.id)
      },
      onRefused: () => void client.invalidateQueries({ queryKey: ['sessionView'] }),
    })
  }, [client, userId])
  return null
}

// Inlined by the server from the same contract.
const vmOf = (event: DeckEvent) =>
  event.topic === 'vm' && event.kind === 'change' && event.object ? (event.object as unknown as Vm) : null
