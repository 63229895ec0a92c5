/**
 * Every operation of the API, declared once. Fastify registers its routes from this table, the browser's
 * client is typed by it, `openapi.json` is generated from it, and the privilege matrix is tested against it.
 * Paths are relative to `API_BASE` and use `:name` parameters. Each resource has a file in `operations/`.
 */
import type { Operation } from './operation.ts'
import { accountOperations } from './operations/account.ts'
import { appliancesOperations } from './operations/appliances.ts'
import { backupsOperations } from './operations/backups.ts'
import { clonesOperations } from './operations/clones.ts'
import { consolesOperations } from './operations/consoles.ts'
import { filesOperations } from './operations/files.ts'
import { hostOperations } from './operations/host.ts'
import { imagesOperations } from './operations/images.ts'
import { jobsOperations } from './operations/jobs.ts'
import { labOperations } from './operations/lab.ts'
import { networksOperations } from './operations/networks.ts'
import { peopleOperations } from './operations/people.ts'
import { projectsOperations } from './operations/projects.ts'
import { recordingsOperations } from './operations/recordings.ts'
import { seedsOperations } from './operations/seeds.ts'
import { signInOperations } from './operations/sign-in.ts'
import { snapshotsOperations } from './operations/snapshots.ts'
import { storageOperations } from './operations/storage.ts'
import { transfersOperations } from './operations/transfers.ts'
import { vmsOperations } from './operations/vms.ts'

export type { Operation } from './operation.ts'

export const API_BASE = '/api/v1'

export const operations = {
  ...signInOperations,
  ...accountOperations,
  ...peopleOperations,
  ...projectsOperations,
  ...networksOperations,
  ...vmsOperations,
  ...consolesOperations,
  ...recordingsOperations,
  ...seedsOperations,
  ...clonesOperations,
  ...snapshotsOperations,
  ...imagesOperations,
  ...filesOperations,
  ...transfersOperations,
  ...backupsOperations,
  ...appliancesOperations,
  ...hostOperations,
  ...jobsOperations,
  ...storageOperations,
  ...labOperations,
} as const satisfies Record<string, Operation>

export type Operations = typeof operations
export type OperationId = keyof Operations

/** WebSocket endpoints; outside the table because their bodies are streams. */
export const EVENTS_PATH = `${API_BASE}/events`
export const consolePath = (id: string, kind: 'vnc' | 'serial') => `${API_BASE}/vms/${id}/console/${kind}`
