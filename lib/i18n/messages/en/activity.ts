import { defineMessages } from '../../define.ts'

/** What happened. */
export const activity = defineMessages('activity', {
  title: 'Activity',
  none: 'Nothing has happened yet.',
  when: 'When',
  what: 'What',
  who: 'Who',
  from: 'From',
  result: { ok: 'done', denied: 'refused', failed: 'failed', info: 'noted' },
  more: 'Show earlier',
  filter: 'Result',
  all: 'Everything',
  problems: 'Failed or refused',
  noProblems: 'Nothing failed or was refused.',
  system: 'the system',
})
