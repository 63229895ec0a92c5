/** The arguments of `setpriv` that turn root into a guest's user for good; spelled here alone. Pure. */

/** User and groups a program runs as. */
export interface RunUser {
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
}

/** Who it is from then on. */
export const identityArgs = ({ uid, gid, groups }: RunUser): string[] => [
  `--reuid=${uid}`,
  `--regid=${gid}`,
  groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`,
]

/** Not a single capability, now or by running another program. */
export const NO_CAPABILITIES = ['--inh-caps=-all', '--bounding-set=-all'] as const
