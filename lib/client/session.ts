'use client'
import { useQuery } from '@tanstack/react-query'
import type { Privilege } from '#lib/auth/privileges.ts'
import { queries } from './queries.ts'

/** The signed-in person; undefined while unknown or signed out. */
export const useUser = () => useQuery(queries.session()).data?.user ?? undefined

/** Whether the signed-in person's role has a privilege; false until known. */
export function useCan(privilege: Privilege): boolean {
  return useQuery(queries.session()).data?.privileges.includes(privilege) ?? false
}
