/** Which object an operation is about: the one its path begins with. What it needs there is its declared privilege. */
export const OBJECT_KINDS = ['vm', 'image', 'volume', 'backup', 'backup-schedule', 'project'] as const
export type AboutKind = (typeof OBJECT_KINDS)[number]

const ROOTS: Readonly<Record<string, AboutKind>> = {
  vms: 'vm',
  images: 'image',
  volumes: 'volume',
  backups: 'backup',
  'backup-schedules': 'backup-schedule',
  projects: 'project',
}

/** Null: it is about no single object, or about one that is the caller's own or nobody's (a token, a job, a pool). */
export function objectOf(operation: { readonly path: string }): AboutKind | null {
  const root = /^\/([a-z-]+)\/:id(?:\/|$)/.exec(operation.path)?.[1]
  return root === undefined ? null : (ROOTS[root] ?? null)
}
