/** A refused quota, at the field that asks for too much. Pure. */
import { type FieldProblem, problemsOf } from '#components/vm/problems.ts'
import type { ApiError } from '#lib/client/api-client.ts'
import type { QuotaItem } from '#lib/schema/quota.ts'

const FIELD: Partial<Record<QuotaItem, string>> = {
  vms: 'project',
  vcpus: 'cpus',
  memoryMiB: 'memoryMiB',
  diskGiB: 'disks',
  ports: 'networks',
}

export function quotaProblems(error: ApiError): FieldProblem[] {
  const problems = problemsOf(error)
  const { details } = error
  if (error.code !== 'quota_exceeded' || typeof details !== 'object' || details === null || !('item' in details))
    return problems
  const item = String(details.item)
  const field = Object.entries(FIELD).find(([known]) => known === item)?.[1]
  return problems.map((problem) => (problem.field === '' && field !== undefined ? { ...problem, field } : problem))
}
