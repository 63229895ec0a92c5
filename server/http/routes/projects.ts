/** Projects, groups, roles, shares and usage: each operation is one call of the engine. */
import type { projectsOperations } from '#lib/api/operations/projects.ts'
import type { Engine } from '#server/engine/types.ts'
import type { Handlers } from '#server/http/contract-routes.ts'

export function projectRoutes({
  projects,
  objectAccess,
  usage,
}: Engine): Pick<Handlers, keyof typeof projectsOperations> {
  return {
    projectList: ({ caller }) => projects.list(caller),
    projectCreate: ({ caller, body }) => projects.create(caller, body),
    projectView: ({ caller, params }) => projects.view(caller, params.id),
    projectUpdate: ({ caller, params, body, expectedRevision }) =>
      projects.update(caller, params.id, body, expectedRevision),
    projectDelete: ({ caller, params }) => projects.delete(caller, params.id),
    directoryList: ({ caller }) => projects.directory(caller),
    groupList: () => projects.groups(),
    groupCreate: ({ caller, body }) => projects.createGroup(caller, body),
    groupUpdate: ({ caller, params, body, expectedRevision }) =>
      projects.updateGroup(caller, params.id, body, expectedRevision),
    groupDelete: ({ caller, params }) => projects.deleteGroup(caller, params.id),
    roleList: ({ caller }) => projects.roles(caller),
    roleCreate: ({ caller, body }) => projects.createRole(caller, body),
    roleUpdate: ({ caller, params, body, expectedRevision }) =>
      projects.updateRole(caller, params.id, body, expectedRevision),
    roleDelete: ({ caller, params }) => projects.deleteRole(caller, params.id),
    vmAccessView: ({ caller, params }) => objectAccess.view(caller, 'vm', params.id),
    vmAccessUpdate: ({ caller, params, body, expectedRevision }) =>
      objectAccess.update(caller, 'vm', params.id, body, expectedRevision),
    imageAccessView: ({ caller, params }) => objectAccess.view(caller, 'image', params.id),
    imageAccessUpdate: ({ caller, params, body, expectedRevision }) =>
      objectAccess.update(caller, 'image', params.id, body, expectedRevision),
    volumeAccessView: ({ caller, params }) => objectAccess.view(caller, 'volume', params.id),
    volumeAccessUpdate: ({ caller, params, body, expectedRevision }) =>
      objectAccess.update(caller, 'volume', params.id, body, expectedRevision),
    usageView: ({ caller }) => usage.view(caller),
    quotaUpdate: ({ caller, params, body }) => usage.setQuota(caller, params, body.limits),
  }
}
