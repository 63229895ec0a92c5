/** All server state that pages read. Keys are [operation, input], so that an event can find them without this file. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { type ApiError, type CallInput, type CallOutput, call, toApiError } from './api-client.ts'
import { connection } from './events.ts'

type ReadOperation =
  | 'sessionView'
  | 'tokenList'
  | 'signInWays'
  | 'signInView'
  | 'accountView'
  | 'sessionList'
  | 'userTokenList'
  | 'userList'
  | 'vmList'
  | 'vmView'
  | 'vmCommandLine'
  | 'vmDevices'
  | 'vmActivity'
  | 'guestLinkList'
  | 'recordingList'
  | 'recordingSettingsView'
  | 'snapshotList'
  | 'snapshotCompare'
  | 'snapshotScheduleList'
  | 'scheduleList'
  | 'vmSeedView'
  | 'vmCloneFacts'
  | 'imageList'
  | 'imageView'
  | 'applianceList'
  | 'imageSources'
  | 'starterList'
  | 'poolList'
  | 'storageNeedList'
  | 'volumeList'
  | 'volumeView'
  | 'uploadList'
  | 'catalogueList'
  | 'backupList'
  | 'backupScheduleList'
  | 'backupScheduleForecast'
  | 'hostView'
  | 'capabilitiesView'
  | 'deviceTypeView'
  | 'hostDeviceList'
  | 'jobList'
  | 'jobView'
  | 'activityList'
  | 'labPolicyView'
  | 'leaseList'
  | 'vmLeaseView'
  | 'powerScheduleList'
  | 'bookingList'
  | 'activityVerify'
  | 'projectList'
  | 'projectView'
  | 'directoryList'
  | 'groupList'
  | 'roleList'
  | 'networkList'
  | 'usageView'
  | 'vmAccessView'
  | 'imageAccessView'
  | 'volumeAccessView'

const read = <K extends ReadOperation>(id: K, input: CallInput<K>) =>
  queryOptions<CallOutput<K>>({
    queryKey: [id, input],
    queryFn: ({ signal }) => call(id, input, { signal }),
  })

/** Polls only while the event stream is down. */
const fallbackMs = () => (connection.get().state === 'open' ? false : 5_000)

const HOST_REFRESH_MS = 10_000

export const queries = {
  session: () => ({ ...read('sessionView', {}), staleTime: 60_000 }),
  vmList: () => ({ ...read('vmList', {}), refetchInterval: fallbackMs }),
  vmView: (id: string) => ({ ...read('vmView', { params: { id } }), refetchInterval: fallbackMs }),
  vmCloneFacts: (id: string) => read('vmCloneFacts', { params: { id } }),
  vmSeed: (id: string) => ({ ...read('vmSeedView', { params: { id } }), refetchInterval: fallbackMs }),
  backupList: (vm?: string) => ({
    ...read('backupList', { query: vm === undefined ? {} : { vm } }),
    refetchInterval: fallbackMs,
  }),
  backupScheduleList: (vm?: string) => read('backupScheduleList', { query: vm === undefined ? {} : { vm } }),
  backupScheduleForecast: (id: string) => read('backupScheduleForecast', { params: { id } }),
  vmCommandLine: (id: string, of: 'next' | 'running' = 'next') =>
    read('vmCommandLine', { params: { id }, query: { of } }),
  /** The hardware of a running guest; `key` is what it depends on, such as revision and process. */
  vmDevices: (id: string, key: string) => {
    const { queryFn } = read('vmDevices', { params: { id } })
    return queryOptions<CallOutput<'vmDevices'>>({
      queryKey: ['vmDevices', { params: { id } }, key],
      ...(queryFn === undefined ? {} : { queryFn }),
      placeholderData: keepPreviousData,
    })
  },
  /** What a change of a VM would do, seen from the revision it was begun at. */
  vmChangePreview: (id: string, revision: number, body: NonNullable<CallInput<'vmChangePreview'>['body']>) =>
    queryOptions<CallOutput<'vmChangePreview'>, ApiError>({
      queryKey: ['vmChangePreview', id, revision, body],
      queryFn: async ({ signal }) => {
        try {
          return await call('vmChangePreview', { params: { id }, body }, { signal })
        } catch (cause) {
          if (signal.aborted) throw cause
          throw toApiError(cause)
        }
      },
      // A plan depends on what else exists and runs by now.
      staleTime: 5_000,
      gcTime: 60_000,
      retry: (failures, error) => failures < 2 && (error.status === 0 || error.status === 503),
    }),
  vmActivity: (id: string, limit = 50) => read('vmActivity', { params: { id }, query: { limit } }),
  guestLinks: (id: string) => read('guestLinkList', { params: { id } }),
  /** What is being recorded grows without an event. */
  recordings: (id: string) =>
    ({
      ...read('recordingList', { params: { id } }),
      refetchInterval: (query: { state: { data: CallOutput<'recordingList'> | undefined } }) =>
        query.state.data?.items.some(({ state }) => state === 'recording') ? 2_000 : fallbackMs(),
    }) as const,
  recordingSettings: () => read('recordingSettingsView', {}),
  snapshots: (id: string) => ({ ...read('snapshotList', { params: { id } }), refetchInterval: fallbackMs }),
  snapshotCompare: (id: string, snapshotId: string) => read('snapshotCompare', { params: { id, snapshotId } }),
  snapshotSchedules: (id: string) => ({
    ...read('snapshotScheduleList', { params: { id } }),
    refetchInterval: fallbackMs,
  }),
  schedules: () => ({ ...read('scheduleList', {}), refetchInterval: fallbackMs }),
  /** When a pattern would run next. */
  schedulePreview: (body: NonNullable<CallInput<'schedulePreview'>['body']>) =>
    queryOptions<CallOutput<'schedulePreview'>>({
      queryKey: ['schedulePreview', body],
      queryFn: ({ signal }) => call('schedulePreview', { body }, { signal }),
      staleTime: 30_000,
      placeholderData: keepPreviousData,
    }),
  applianceList: () => read('applianceList', {}),
  imageList: () => ({ ...read('imageList', {}), refetchInterval: fallbackMs }),
  imageView: (id: string) => read('imageView', { params: { id } }),
  imageSources: () => read('imageSources', {}),
  starterList: () => ({ ...read('starterList', {}), staleTime: 60_000 }),
  /** What is unfinished changes without an event; only shown while something is. */
  uploadList: () =>
    ({
      ...read('uploadList', {}),
      refetchInterval: (query: { state: { data: CallOutput<'uploadList'> | undefined } }) =>
        (query.state.data?.items.length ?? 0) > 0 ? 5_000 : false,
    }) as const,
  catalogueList: () => read('catalogueList', {}),
  /** Load and free space drift without an event. */
  /** Room changes without an event. */
  poolList: () => ({ ...read('poolList', {}), refetchInterval: HOST_REFRESH_MS }),
  storageNeeds: () => ({ ...read('storageNeedList', {}), refetchInterval: HOST_REFRESH_MS }),
  volumeList: () => ({ ...read('volumeList', {}), refetchInterval: fallbackMs }),
  volumeView: (id: string) => ({ ...read('volumeView', { params: { id } }), refetchInterval: fallbackMs }),
  hostView: () => ({ ...read('hostView', {}), refetchInterval: HOST_REFRESH_MS }),
  capabilities: () => ({ ...read('capabilitiesView', {}), staleTime: 300_000 }),
  /** Properties of one device, object or machine type; they change with QEMU alone. */
  deviceType: (type: string) => ({ ...read('deviceTypeView', { params: { type } }), staleTime: 300_000 }),
  /** What is plugged in changes without an event. */
  hostDevices: () => ({ ...read('hostDeviceList', {}), staleTime: 5_000 }),
  jobList: () => ({ ...read('jobList', {}), refetchInterval: fallbackMs }),
  jobView: (id: string) => ({ ...read('jobView', { params: { id } }), refetchInterval: fallbackMs }),
  userList: () => read('userList', {}),
  tokenList: () => read('tokenList', {}),
  activityVerify: () => read('activityVerify', {}),
  signInWays: () => ({ ...read('signInWays', {}), staleTime: 30_000 }),
  signInSettings: () => read('signInView', {}),
  account: () => read('accountView', {}),
  sessionList: () => read('sessionList', {}),
  userTokenList: (id: string) => read('userTokenList', { params: { id } }),
  labPolicy: () => ({ ...read('labPolicyView', {}), refetchInterval: fallbackMs }),
  leases: () => ({ ...read('leaseList', {}), refetchInterval: fallbackMs }),
  vmLease: (id: string) => ({ ...read('vmLeaseView', { params: { id } }), refetchInterval: fallbackMs }),
  powerSchedules: (vm?: string) => ({
    ...read('powerScheduleList', { query: vm === undefined ? {} : { vm } }),
    refetchInterval: fallbackMs,
  }),
  bookings: (from?: string, until?: string) => ({
    ...read('bookingList', {
      query: { ...(from !== undefined && { from }), ...(until !== undefined && { until }) },
    }),
    refetchInterval: fallbackMs,
    placeholderData: keepPreviousData,
  }),
  /** How many VMs run in them changes without an event. */
  projectList: () => ({ ...read('projectList', {}), refetchInterval: HOST_REFRESH_MS }),
  projectView: (id: string) => ({ ...read('projectView', { params: { id } }), refetchInterval: HOST_REFRESH_MS }),
  directory: () => ({ ...read('directoryList', {}), staleTime: 5_000 }),
  groupList: () => read('groupList', {}),
  roleList: () => ({ ...read('roleList', {}), staleTime: 60_000 }),
  networkList: () => read('networkList', {}),
  usage: () => ({ ...read('usageView', {}), refetchInterval: HOST_REFRESH_MS }),
  access: (kind: 'vm' | 'image' | 'volume', id: string) => read(`${kind}AccessView`, { params: { id } }),
  activityList: (limit = 50) => read('activityList', { query: { limit } }),
} as const
