/**
 * Writes docs/permissions.md: what each role gives, and every operation and socket with what seven callers get. With
 * `--check` changes nothing and exits 1 when it would differ.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { API_BASE, type Operation, operations } from '#lib/api/contract.ts'
import { COLUMN_IDS, COLUMNS, type Rule, SOCKETS, STRICTER, type Verdict, verdict } from '#lib/auth/permission-table.ts'
import { OBJECT_PRIVILEGES, PRIVILEGES, projectPrivileges, ROLE_PRIVILEGES } from '#lib/auth/privileges.ts'
import { Role } from '#lib/schema/user.ts'

const FILE = join(import.meta.dirname, '../docs/permissions.md')

const INTRO = `# Who may do what

Made from the code by \`npm run gen:permissions\`; edits here are lost. \`server/http/matrix.int.test.ts\` calls every
operation of a running dashboard as each of the seven below and compares the answers with this table.

- **yes**: through every check. What the operation then says about the request is another matter.
- **401**: sign in first (\`unauthenticated\`). **403**: known, but not allowed (\`forbidden\`).
- **404**: for this caller there is no such thing (\`not_found\`), in the same words as for what does not exist.
- **Member, owner** owns what is called for and manages the project in the table; **member, other** and **operator** own
  nothing of it, and it is shared with neither. What a project or a share gives counts like the role, for its objects.
- **Scoped token** is an API token of the owner for that one VM, with ${COLUMNS.token.scope.map((one) => `\`${one}\``).join(' and ')}.
- Images in these tables are in the common library. \`public\`: anybody. \`session\`: anybody signed in; a limited token
  only reads. \`account\`: a person at their own account, which a token never is.
`

const WORD: Readonly<Record<Verdict, string>> = {
  allowed: 'yes',
  unauthenticated: '401',
  forbidden: '403',
  absent: '404',
}
const row = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [row(head), `|${'---|'.repeat(head.length)}`, ...rows.map(row)].join('\n')
const code = (text: string) => `\`${text}\``
const verdicts = (rule: Rule) => COLUMN_IDS.map((id) => WORD[verdict(COLUMNS[id], rule)])
const HEAD = COLUMN_IDS.map((id) => COLUMNS[id].name)

function rolesText(): string {
  const roles = Role.options
  return table(
    ['Privilege', ...roles, ...roles.map((role) => `${role} in a project`)],
    PRIVILEGES.map((privilege) => {
      const ofObjects = (OBJECT_PRIVILEGES as readonly string[]).includes(privilege)
      const inProject = (role: Role) => {
        if (!ofObjects) return ''
        if (projectPrivileges(role, false).includes(privilege)) return 'yes'
        return projectPrivileges(role, true).includes(privilege) ? 'own' : ''
      }
      return [
        code(privilege),
        ...roles.map((role) => (ROLE_PRIVILEGES[role].includes(privilege) ? 'yes' : '')),
        ...roles.map(inProject),
      ]
    }),
  )
}

export function permissionsDoc(): string {
  const all = Object.entries(operations as Record<string, Operation>)
  const stricter = Object.entries(STRICTER).map(
    ([id, { when, privilege }]) =>
      `- ${code(id)} takes ${code(privilege)} where ${when}, and is shown for that: ${COLUMN_IDS.map(
        (column) => `${COLUMNS[column].name} ${WORD[verdict(COLUMNS[column], ruleOf(id))]}`,
      ).join(', ')}.`,
  )
  return `${[
    INTRO.trimEnd(),
    '## Roles',
    'A custom role is a set of these and takes the place of the built-in one. *Own*: for what is theirs in the project.',
    rolesText(),
    '## Operations',
    `Below ${code(API_BASE)}.`,
    table(
      ['Operation', 'Request', 'Privilege', ...HEAD],
      all.map(([id, { method, path, privilege }]) => [
        code(id),
        code(`${method} ${path}`),
        code(STRICTER[id]?.privilege ?? privilege),
        ...verdicts(ruleOf(id)),
      ]),
    ),
    stricter.join('\n'),
    '## WebSockets',
    'A console is opened with a ticket, which is asked for first: whoever gets none does not get as far as the socket.',
    table(
      ['Socket', 'Path', 'Privilege', ...HEAD],
      SOCKETS.map((socket) => [
        socket.name,
        code(socket.path),
        code(socket.privilege),
        ...verdicts({ ...socket, method: 'GET' }),
      ]),
    ),
  ].join('\n\n')}\n`
}

function ruleOf(id: string): Rule {
  const operation = (operations as Record<string, Operation>)[id]
  if (operation === undefined) throw new Error(`no operation ${id}`)
  return { ...operation, privilege: STRICTER[id]?.privilege ?? operation.privilege }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const text = permissionsDoc()
  if (!process.argv.includes('--check')) {
    writeFileSync(FILE, text)
    console.log(`gen-permissions-doc: wrote ${FILE}`)
  } else if (readFileSync(FILE, 'utf8') !== text) {
    console.error('gen-permissions-doc: docs/permissions.md differs from the code. Run: npm run gen:permissions')
    process.exitCode = 1
  }
}
