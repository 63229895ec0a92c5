'use client'
import { useQueryClient } from '@tanstack/react-query'
import { useEffect } from 'react'
import { applyEvent } from '#lib/client/event-cache.ts'
import { openEventStream } from '#lib/client/events.ts'
import { useUser } from '#lib/client/session.ts'

/** Holds the event stream open while somebody is signed in, and lets it write into the query cache. */
export function EventBridge() {
  const client = useQueryClient()
  const userId = useUser()?.id
  useEffect(() => {
    if (!userId) return
    return openEventStream({
      onEvent: (event) => applyEvent(client, event),
      onRefused: () => void client.invalidateQueries({ queryKey: ['sessionView'] }),
    })
  }, [client, userId])
  return null
}
