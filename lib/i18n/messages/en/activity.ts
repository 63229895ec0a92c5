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
  noMatch: 'Nothing that happened matches the search.',
  search: {
    title: 'Search the log',
    text: 'Words, names, addresses',
    who: 'Person',
    go: 'Search',
    clear: 'Show everything',
  },
  export: { csv: 'Export as CSV', jsonl: 'Export as JSON lines' },
  verify: {
    go: 'Check for changes',
    running: 'Reading the whole log…',
    failed: 'The log could not be checked. Try again.',
    intact: '{lines, plural, one {# line is} other {# lines are}} as written: none was changed, added or taken out.',
    broken: 'The chain breaks at line {line}: it, or a line before it, was changed or taken out.',
    unchained: '{lines, plural, one {# line is} other {# lines are}} older than the chain and cannot be checked.',
    head: 'Hash of the newest line, to be noted elsewhere:',
    copy: 'Copy hash',
    copied: 'Copied',
  },
})
