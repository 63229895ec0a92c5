import type { PowerAction, Vm } from '../schema/vm-state.ts'

/** The one action a person most likely wants now. Pure. */
export function primaryAction(vm: Pick<Vm, 'state'>): PowerAction {
  switch (vm.state) {
    case 'off':
    case 'crashed':
      return 'start'
    case 'paused':
      return 'resume'
    case 'unmanageable':
    case 'stopping':
      return 'poweroff'
    case 'running':
    case 'starting':
    case 'saving':
    case 'migrating':
      return 'shutdown'
  }
}
