/** Operations: long work and what happened. */
import * as z from 'zod'
import { ActivityEntry, ActivitySearch, ActivityVerdict } from '../../schema/event.ts'
import { JobId } from '../../schema/ids.ts'
import { Job } from '../../schema/job.ts'
import { Items, type Operation, op } from '../operation.ts'

export const jobsOperations = {
  jobList: op({
    method: 'GET',
    path: '/jobs',
    summary: 'Own long work, newest first',
    privilege: 'session',
    response: Items(Job),
  }),
  jobView: op({
    method: 'GET',
    path: '/jobs/:id',
    summary: 'One job; with `wait`, answered once it is over, or after that many seconds at the latest',
    privilege: 'session',
    params: z.strictObject({ id: JobId }),
    query: z.strictObject({ wait: z.coerce.number().int().min(0).max(60).default(0) }),
    response: Job,
  }),
  jobCancel: op({
    method: 'POST',
    path: '/jobs/:id/cancel',
    summary: 'Cancel a job',
    privilege: 'session',
    params: z.strictObject({ id: JobId }),
    response: Job,
    errors: ['wrong_state'],
  }),
  activityList: op({
    method: 'GET',
    path: '/activity',
    summary: 'What happened, newest first: everything for administrators, the own doings and VMs for others',
    privilege: 'session',
    query: z.strictObject({
      ...ActivitySearch.shape,
      before: z.coerce.number().int().min(1).optional(),
      limit: z.coerce.number().int().min(1).max(200).default(50),
    }),
    response: Items(ActivityEntry),
  }),
  activityVerify: op({
    method: 'GET',
    path: '/activity/verify',
    summary: 'Checks the chain of hashes over the whole log',
    privilege: 'activity.view.all',
    response: ActivityVerdict,
  }),
  activityExportJson: op({
    method: 'GET',
    path: '/activity/export.jsonl',
    summary: 'What a search finds, oldest first, one JSON object a line with its hash',
    privilege: 'activity.view.all',
    query: ActivitySearch,
    raw: 'application/x-ndjson',
  }),
  activityExportCsv: op({
    method: 'GET',
    path: '/activity/export.csv',
    summary: 'What a search finds, oldest first, as a table that spreadsheets take for text and never for formulas',
    privilege: 'activity.view.all',
    query: ActivitySearch,
    raw: 'text/csv',
  }),
} as const satisfies Record<string, Operation>
