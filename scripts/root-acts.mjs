/**
 * What only `server/launcher` may do (decision 0018): the acts for which the dashboard is root. Found by their words in the
 * source, as no import tells them: `chown` comes with `node:fs`, `kill` with `process`.
 */
const TEST_ONLY = /\.test\.(ts|tsx|mjs)$|(^|\/)testing\/|[-.]testing\.ts$|(^|\/)test-[^/]*\.ts$/

const RULES = [
  {
    name: 'owners-by-the-launcher',
    word: /\b[lf]?chown(Sync)?\b/,
    comment: 'Files are handed over by the verb `own`, which knows whom they may belong to.',
    // The command `guestdeck`, run by root, leaves a new database to the owner of its directory.
    but: /^server\/store\/open\.ts$/,
  },
  {
    name: 'signals-by-the-launcher',
    word: /\bprocess\.kill\(/,
    comment:
      'Guests are signalled by the verb `signal`, which looks whose process it is; children of ours by `killOwn`.',
    but: /^server\/platform\/process\.ts$/,
  },
  {
    name: 'users-by-the-launcher',
    word: /--re[ug]id=|\bset(?:re|e|res)?[ug]id\(|\bsetgroups\(|\b[ug]id: user\./,
    comment: 'Programs become another user by the arguments of `server/platform/setpriv.ts`.',
    // The compiler, which is pure, spells the command line that people are shown; child.ts where setpriv is missing.
    but: /^server\/(platform\/(setpriv|child)|spec\/devices\/process|vm\/helpers\/daemon)\.ts$/,
  },
]

/** @returns each line of a module of the server that does what is the launcher's, and the rule it breaks */
export function findActs(path, text) {
  if (!path.startsWith('server/') || path.startsWith('server/launcher/') || TEST_ONLY.test(path)) return []
  const lines = text.split('\n')
  return RULES.filter(({ but }) => !but.test(path)).flatMap(({ name, word, comment }) =>
    lines.flatMap((line, at) =>
      word.test(line) && !/^\s*(\/\/|\/?\*)/.test(line) ? [{ name, path, line: at + 1, comment }] : [],
    ),
  )
}
