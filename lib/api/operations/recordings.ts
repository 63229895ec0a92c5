/** Operations: recordings of consoles. */
import * as z from 'zod'
import { VmId } from '../../schema/ids.ts'
import {
  Recording,
  RecordingId,
  RecordingList,
  RecordingRule,
  RecordingRulePatch,
  RecordingSettings,
  RecordingSettingsPatch,
  RecordingStart,
} from '../../schema/recording.ts'
import { type Operation, op } from '../operation.ts'

const vm = z.strictObject({ id: VmId })
const one = z.strictObject({ id: VmId, recording: RecordingId })

export const recordingsOperations = {
  recordingList: op({
    method: 'GET',
    path: '/vms/:id/recordings',
    summary: 'Recordings of the consoles of a VM, newest first',
    privilege: 'vm.console.view',
    params: vm,
    response: RecordingList,
  }),
  recordingStart: op({
    method: 'POST',
    path: '/vms/:id/recordings',
    summary: 'Record the screen or the serial console until it is stopped; everybody at the VM’s consoles is told',
    privilege: 'vm.console.record',
    params: vm,
    body: RecordingStart,
    response: Recording,
    status: 201,
    errors: ['wrong_state', 'conflict', 'no_space', 'quota_exceeded'],
  }),
  recordingView: op({
    method: 'GET',
    path: '/vms/:id/recordings/:recording',
    summary: 'One recording',
    privilege: 'vm.console.view',
    params: one,
    response: Recording,
  }),
  recordingStop: op({
    method: 'POST',
    path: '/vms/:id/recordings/:recording/stop',
    summary: 'End a recording; one that a rule began is an administrator’s to end',
    privilege: 'vm.console.record',
    params: one,
    response: Recording,
    errors: ['wrong_state', 'busy'],
  }),
  recordingContent: op({
    method: 'GET',
    path: '/vms/:id/recordings/:recording/content',
    summary:
      'The file: asciicast 2 of a serial console, frames as in docs/adr/0017 of a screen; also while it is written',
    privilege: 'vm.console.view',
    params: one,
    raw: 'application/octet-stream',
    errors: ['bad_range'],
  }),
  recordingDelete: op({
    method: 'DELETE',
    path: '/vms/:id/recordings/:recording',
    summary: 'Delete a recording; one that a rule began is an administrator’s to delete',
    privilege: 'vm.console.record',
    params: one,
    errors: ['wrong_state'],
  }),
  recordingRuleSet: op({
    method: 'PATCH',
    path: '/vms/:id/recording-rule',
    summary: 'Which consoles of a VM are recorded whenever it runs',
    privilege: 'recording.manage',
    params: vm,
    body: RecordingRulePatch,
    response: RecordingRule,
  }),
  recordingSettingsView: op({
    method: 'GET',
    path: '/recording-settings',
    summary: 'Limits of recordings, how long they are kept, and what is always recorded on this host',
    privilege: 'vm.console.view',
    response: RecordingSettings,
  }),
  recordingSettingsUpdate: op({
    method: 'PATCH',
    path: '/recording-settings',
    summary: 'Change them; each part given replaces the whole part',
    privilege: 'recording.manage',
    body: RecordingSettingsPatch,
    response: RecordingSettings,
  }),
} as const satisfies Record<string, Operation>
