/** Every URL of the user interface; the only place that spells one. */
export const paths = {
  overview: () => '/',
  login: () => '/login',
  setup: () => '/setup',
  /** @param search the line of the list's search field */
  vms: (search = '') => (search === '' ? '/vms' : `/vms?${new URLSearchParams({ q: search })}`),
  vmNew: () => '/vms/new',
  vmNewIn: (project: string) => `/vms/new?project=${project}`,
  vmNewFromAppliance: (id: string) => `/vms/new?appliance=${id}`,
  vm: (id: string) => `/vms/${id}`,
  vmConsole: (id: string) => `/vms/${id}/console`,
  guest: (id: string) => `/guest/${id}`,
  vmConsoleWindow: (id: string) => `/window/${id}`,
  vmDevices: (id: string, query: Readonly<Record<string, string>> = {}) => {
    const search = new URLSearchParams(query).toString()
    return `/vms/${id}/devices${search && `?${search}`}`
  },
  vmSnapshots: (id: string) => `/vms/${id}/snapshots`,
  vmBackups: (id: string) => `/vms/${id}/backups`,
  vmRecordings: (id: string) => `/vms/${id}/recordings`,
  vmLab: (id: string) => `/vms/${id}/lab`,
  vmDefinition: (id: string) => `/vms/${id}/definition`,
  vmActivity: (id: string) => `/vms/${id}/activity`,
  images: () => '/images',
  storage: (query: Readonly<Record<string, string>> = {}) => {
    const search = new URLSearchParams(query).toString()
    return `/storage${search && `?${search}`}`
  },
  /** Files of an image, a volume, a backup, or of a snapshot together with its VM. */
  files: (of: Readonly<Record<string, string>>) => `/files?${new URLSearchParams(of)}`,
  backups: () => '/backups',
  lab: () => '/lab',
  labPower: () => '/lab/power',
  labDevices: () => '/lab/devices',
  labSettings: () => '/lab/settings',
  host: () => '/host',
  projects: () => '/projects',
  project: (id: string) => `/projects/${id}`,
  usage: () => '/usage',
  people: () => '/people',
  groups: () => '/people/groups',
  roles: () => '/people/roles',
  signIn: () => '/people/sign-in',
  account: () => '/account',
  activity: () => '/activity',
} as const
