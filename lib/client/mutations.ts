'use client'
/** All changes pages make. Failures of bare actions become a toast here, once; forms pass their own `onError`. */
import { type QueryClient, type UseMutationOptions, useMutation, useQueryClient } from '@tanstack/react-query'
import { useCallback } from 'react'
import type { OperationId } from '#lib/api/contract.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import type { PowerAction, Vm, VmState } from '#lib/schema/vm-state.ts'
import { type ApiError, type CallInput, type CallOutput, call, toApiError } from './api-client.ts'
import { upsert } from './event-cache.ts'
import { useT } from './i18n.tsx'
import { toastError } from './toasts.ts'

/** Reads that an operation makes stale. VM, image and job changes also arrive as events; this covers a lost stream. */
const STALE: Partial<Record<OperationId, readonly OperationId[]>> = {
  tokenCreate: ['tokenList'],
  tokenDelete: ['tokenList'],
  passwordChange: ['tokenList', 'sessionList'],
  totpConfirm: ['accountView', 'sessionView', 'sessionList'],
  totpDelete: ['accountView'],
  recoveryCreate: ['accountView'],
  passkeyCreate: ['accountView', 'sessionView', 'sessionList'],
  passkeyDelete: ['accountView'],
  sessionRevoke: ['sessionList'],
  sessionRevokeAll: ['sessionList', 'sessionView'],
  signInUpdate: ['signInView', 'signInWays'],
  userLogins: ['userList'],
  userSignOut: ['userList'],
  userFactorsReset: ['userList'],
  userTokenDelete: ['userTokenList', 'userList'],
  userCreate: ['userList'],
  userUpdate: ['userList', 'roleList'],
  userDelete: ['userList'],
  vmCreate: ['vmList', 'imageList', 'hostView', 'usageView', 'projectList'],
  vmDelete: ['vmList', 'imageList', 'hostView', 'vmCloneFacts', 'usageView', 'projectList'],
  vmClone: ['jobList', 'vmCloneFacts', 'vmList'],
  vmTemplateSet: ['vmCloneFacts', 'vmList'],
  vmSeedReplace: ['vmSeedView', 'vmView', 'vmCommandLine'],
  vmSeedRemove: ['vmSeedView', 'vmView', 'vmCommandLine'],
  vmUpdate: ['vmCommandLine', 'vmDevices', 'imageList'],
  guestLinkCreate: ['guestLinkList'],
  guestLinkRevoke: ['guestLinkList'],
  recordingStart: ['recordingList'],
  recordingStop: ['recordingList'],
  recordingDelete: ['recordingList'],
  recordingRuleSet: ['recordingList'],
  recordingSettingsUpdate: ['recordingList', 'recordingSettingsView'],
  snapshotCreate: ['snapshotList', 'jobList'],
  snapshotUpdate: ['snapshotList'],
  snapshotRevert: ['snapshotList', 'jobList'],
  snapshotDelete: ['snapshotList', 'jobList'],
  snapshotScheduleCreate: ['snapshotScheduleList', 'scheduleList'],
  snapshotScheduleUpdate: ['snapshotScheduleList', 'scheduleList'],
  snapshotScheduleDelete: ['snapshotScheduleList', 'scheduleList'],
  snapshotScheduleRun: ['snapshotScheduleList', 'scheduleList'],
  backupCreate: ['jobList'],
  backupUpdate: ['backupList'],
  backupDelete: ['jobList', 'backupList'],
  backupRestore: ['jobList', 'vmList'],
  backupVerify: ['jobList'],
  backupScheduleCreate: ['backupScheduleList'],
  backupScheduleUpdate: ['backupScheduleList'],
  backupScheduleDelete: ['backupScheduleList'],
  backupScheduleRun: ['backupScheduleList', 'jobList'],
  imageUpload: ['imageList', 'hostView'],
  imagePut: ['imageList', 'hostView'],
  imageDownload: ['jobList'],
  catalogueFetch: ['jobList', 'catalogueList'],
  imageUpdate: ['imageList'],
  uploadDelete: ['uploadList', 'jobList'],
  uploadFinish: ['uploadList', 'jobList'],
  imageRegister: ['jobList', 'imageList', 'imageSources'],
  imageImport: ['jobList', 'imageList'],
  applianceDelete: ['applianceList', 'imageList'],
  imageDelete: ['imageList', 'starterList', 'imageSources'],
  starterAdd: ['imageList', 'starterList'],
  jobCancel: ['jobList'],
  poolCreate: ['poolList'],
  poolUpdate: ['poolList', 'volumeList'],
  poolDelete: ['poolList'],
  poolCheck: ['poolList', 'storageNeedList', 'volumeList'],
  volumeCreate: ['volumeList', 'poolList'],
  volumeUpdate: ['volumeList', 'poolList'],
  volumeGrow: ['volumeList', 'poolList'],
  volumeAttach: ['volumeList', 'poolList'],
  volumeDetach: ['volumeList', 'poolList'],
  volumeDelete: ['volumeList', 'poolList'],
  volumeRestore: ['volumeList', 'poolList'],
  trashEmpty: ['volumeList', 'poolList'],
  volumeCopy: ['jobList'],
  volumeConvert: ['jobList'],
  volumeCompact: ['jobList'],
  volumeMove: ['jobList'],
  labPolicyUpdate: ['labPolicyView', 'leaseList', 'vmLeaseView', 'bookingList'],
  vmLeaseExtend: ['leaseList', 'vmLeaseView', 'powerScheduleList', 'vmView', 'vmList'],
  vmLeaseSet: ['leaseList', 'vmLeaseView', 'powerScheduleList', 'vmView', 'vmList'],
  powerScheduleCreate: ['powerScheduleList', 'scheduleList'],
  powerScheduleUpdate: ['powerScheduleList', 'scheduleList'],
  powerScheduleDelete: ['powerScheduleList', 'scheduleList'],
  powerScheduleSkip: ['powerScheduleList'],
  bookingCreate: ['bookingList'],
  bookingDelete: ['bookingList'],
  projectCreate: ['projectList', 'directoryList', 'usageView', 'sessionView'],
  projectUpdate: ['projectList', 'projectView', 'directoryList', 'vmList', 'vmView', 'sessionView'],
  projectDelete: ['projectList', 'directoryList', 'usageView', 'sessionView'],
  groupCreate: ['groupList', 'directoryList'],
  groupUpdate: ['groupList', 'directoryList', 'projectList', 'projectView'],
  groupDelete: ['groupList', 'directoryList', 'projectList', 'projectView'],
  roleCreate: ['roleList', 'directoryList'],
  roleUpdate: ['roleList', 'directoryList'],
  roleDelete: ['roleList', 'directoryList'],
  vmAccessUpdate: ['vmAccessView', 'vmList', 'vmView', 'volumeList', 'projectList', 'projectView', 'usageView'],
  imageAccessUpdate: ['imageAccessView', 'imageList', 'imageView', 'projectList', 'projectView'],
  volumeAccessUpdate: ['volumeAccessView', 'volumeList', 'projectList', 'projectView', 'usageView'],
  networkCreate: ['networkList'],
  networkUpdate: ['networkList'],
  networkDelete: ['networkList'],
  quotaUpdate: ['usageView'],
}

export interface OperationInput<K extends OperationId> {
  readonly input: CallInput<K>
  readonly ifMatch?: number | undefined
}

/** Writes a VM that an operation answered with into every cache that holds it. */
export function putVm(client: QueryClient, vm: Vm): void {
  client.setQueryData<Vm>(['vmView', { params: { id: vm.id } }], vm)
  client.setQueryData<{ items: Vm[] }>(['vmList', {}], (known) => known && upsert(known, vm, 'back'))
}

/**
 * One operation as a mutation: `const create = useOperation('vmCreate')`, then
 * `create.mutate({ input: { body } })`. Stale reads are refreshed afterwards; errors are `ApiError`.
 */
export function useOperation<K extends OperationId>(
  id: K,
  options: Omit<UseMutationOptions<CallOutput<K>, ApiError, OperationInput<K>>, 'mutationFn' | 'mutationKey'> = {},
) {
  const client = useQueryClient()
  return useMutation<CallOutput<K>, ApiError, OperationInput<K>>({
    mutationKey: [id],
    mutationFn: async ({ input, ifMatch }) => {
      try {
        const answer = await call(id, input, { ifMatch })
        for (const read of STALE[id] ?? []) void client.invalidateQueries({ queryKey: [read] })
        return answer
      } catch (cause) {
        throw toApiError(cause)
      }
    },
    ...options,
  })
}

const POWER_OPERATION = {
  start: 'vmStart',
  shutdown: 'vmShutdown',
  poweroff: 'vmPoweroff',
  reset: 'vmReset',
  pause: 'vmPause',
  resume: 'vmResume',
} as const satisfies Record<PowerAction, OperationId>

/** What the page shows until the server answers; null leaves the state alone. */
const EXPECTED: Record<PowerAction, VmState | null> = {
  start: 'starting',
  shutdown: 'stopping',
  poweroff: 'stopping',
  reset: null,
  pause: null,
  resume: null,
}

/**
 * Asks for a power action and shows it as under way at once. Resolves to whether it succeeded; a failure is put back
 * and told in a toast.
 */
export function usePower(): (vm: Pick<Vm, 'id' | 'name'>, action: PowerAction) => Promise<boolean> {
  const client = useQueryClient()
  const t = useT(app)
  return useCallback(
    async (vm, action) => {
      const shown =
        client.getQueryData<Vm>(['vmView', { params: { id: vm.id } }]) ??
        client.getQueryData<{ items: Vm[] }>(['vmList', {}])?.items.find((known) => known.id === vm.id)
      const expected = EXPECTED[action]
      if (shown && expected) putVm(client, { ...shown, state: expected, since: new Date().toISOString() })
      try {
        putVm(client, await call(POWER_OPERATION[action], { params: { id: vm.id } }))
        return true
      } catch (cause) {
        void client.invalidateQueries({ queryKey: ['vmView', { params: { id: vm.id } }] })
        void client.invalidateQueries({ queryKey: ['vmList'] })
        toastError(cause, t(`power.failed.${action}`, { name: vm.name }))
        return false
      }
    },
    [client, t],
  )
}
