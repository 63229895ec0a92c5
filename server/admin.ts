/**
 * Composition root of the `guestdeck` command: opens the store and the people in it, nothing else, so it works beside
 * a running dashboard and without one. Results go to stdout, complaints to stderr; exit 1 when something was refused,
 * 2 when the command line is wrong.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type * as z from 'zod'
import { Password, Role, UserName } from '#lib/schema/user.ts'
import type { SessionDocument, UserDocument } from '#server/auth/documents.ts'
import { createPasswords } from '#server/auth/passwords.ts'
import { createTokens } from '#server/auth/tokens.ts'
import { createUsers } from '#server/auth/users.ts'
import { readConfig } from '#server/config.ts'
import { ConfigError } from '#server/config-error.ts'
import { EngineError } from '#server/engine/errors.ts'
import { becomeOwnerOf } from '#server/launcher/give-up-root.ts'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDir } from '#server/store/data-dir.ts'
import { openStore } from '#server/store/sqlite.ts'

class UsageError extends Error {}

const say = (line: string) => process.stdout.write(`${line}\n`)

function parsed<T extends z.ZodType>(schema: T, what: string): (value: string) => z.output<T> {
  return (value) => {
    const result = schema.safeParse(value)
    if (!result.success) throw new InvalidArgumentError(`${what}: ${result.error.issues[0]?.message ?? 'not valid'}.`)
    return result.data
  }
}

function days(value: string): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1 || number > 3650) {
    throw new InvalidArgumentError('a whole number from 1 to 3650.')
  }
  return number
}

/** Opens the data directory named by `--data` or the environment. `create` also when there is nothing yet. */
function open(options: { data?: string }, create: boolean) {
  const isRoot = process.getuid?.() === 0
  const config = readConfig(process.env, options.data === undefined ? {} : { data: options.data }, isRoot)
  const paths = dataPaths(config.dataDir)
  if (!existsSync(paths.stateDb) && !existsSync(paths.stateBackup)) {
    if (!create) throw new ConfigError(`There is no Guestdeck data in ${paths.root}. Name the directory with --data.`)
    // An existing directory belongs to the dashboard's user, whose modes are not ours to change.
    if (!existsSync(paths.root)) prepareDataDir(paths.root, isRoot, () => {})
  }
  if (existsSync(paths.root)) becomeOwnerOf(paths.root)
  const owner = existsSync(paths.stateDb) ? statSync(paths.stateDb).uid : null
  if (owner !== null && process.getuid?.() !== 0 && owner !== process.getuid?.()) {
    throw new ConfigError(`${paths.stateDb} belongs to another user (uid ${owner}); run this command as that user.`)
  }
  const store = openStore(paths)
  const users = createUsers(store, createPasswords())
  const named = (name: string): UserDocument => {
    const user = users.byName(name)
    if (!user) throw new EngineError('not_found', `There is nobody called ${name}.`)
    return user
  }
  const record = (what: string, sentence: string) =>
    store.log(
      {
        at: new Date().toISOString(),
        what,
        text: sentence,
        result: 'ok',
        who: 'command line',
        from: null,
        topic: 'user',
        objectId: null,
        objectName: null,
        userId: null,
      },
      { durable: true },
    )
  return { store, users, tokens: createTokens(store), named, record, [Symbol.dispose]: () => store.close() }
}

/** From stdin with the flag; asked for without echo on a terminal otherwise. */
async function readPassword(fromStdin: boolean): Promise<string> {
  let password: string
  if (fromStdin) {
    password = (await text(process.stdin)).replace(/\r?\n$/, '')
  } else {
    if (!process.stdin.isTTY) throw new UsageError('Give the password on standard input with --password-stdin.')
    const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
    const lines = createInterface({ input: process.stdin, output: silent, terminal: true })
    process.stderr.write('Password: ')
    password = await new Promise<string>((resolve) => lines.question('', resolve))
    lines.close()
    process.stderr.write('\n')
  }
  const result = Password.safeParse(password)
  if (!result.success) throw new UsageError(`The password needs ${result.error.issues[0]?.message ?? 'another form'}.`)
  return result.data
}

function table(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_cell, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  for (const row of rows)
    say(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

function build(): Command {
  const program = new Command('guestdeck')
    .description('Administrate the people and API tokens of a Guestdeck dashboard, running or not')
    .version(version())
    .option('--data <dir>', 'data directory (default: as the dashboard, see GUESTDECK_DATA)')
    .showHelpAfterError('(try --help)')
    .exitOverride()
  const global = () => program.opts<{ data?: string }>()
  const passwordFlag = () => new Option('--password-stdin', 'read the password from standard input').default(false)

  // Served by cli/image-upload.mjs, which needs neither this program nor its dependencies.
  program.addHelpText('after', '\nFiles are sent to a dashboard with: guestdeck image upload FILE (see its --help)')
  const user = program.command('user').description('people')
  user
    .command('add')
    .description('add a person')
    .argument('<name>', 'name to sign in with', parsed(UserName, 'name'))
    .addOption(new Option('--role <role>', 'what they may do').choices(Role.options).makeOptionMandatory())
    .addOption(passwordFlag())
    .action(async (name: string, options: { role: z.output<typeof Role>; passwordStdin: boolean }) => {
      const password = await readPassword(options.passwordStdin)
      using deck = open(global(), true)
      await deck.users.create({ name, password, role: options.role })
      deck.record('userCreate', `Added ${name} as ${options.role} on the command line.`)
      say(`Added ${name} as ${options.role}.`)
    })
  user
    .command('list')
    .description('show everybody')
    .action(() => {
      using deck = open(global(), false)
      const people = deck.users.list().sort((a, b) => (a.name < b.name ? -1 : 1))
      table([
        ['NAME', 'ROLE', 'ACCESS', 'LAST SEEN'],
        ...people.map((p) => [p.name, p.role, p.disabled ? 'disabled' : 'enabled', p.lastSeenAt ?? 'never']),
      ])
    })
  user
    .command('passwd')
    .description('set a new password; ends all sessions and API tokens of the person')
    .argument('<name>')
    .addOption(passwordFlag())
    .action(async (name: string, options: { passwordStdin: boolean }) => {
      const password = await readPassword(options.passwordStdin)
      using deck = open(global(), false)
      await deck.users.update(deck.named(name).id, { password })
      deck.record('userUpdate', `Set a new password for ${name} on the command line.`)
      say(`${name} has a new password; their sessions and API tokens ended.`)
    })
  for (const [verb, disabled] of [
    ['disable', true],
    ['enable', false],
  ] as const) {
    user
      .command(verb)
      .description(
        disabled ? 'refuse a person from now on; ends their sessions and API tokens' : 'let a person in again',
      )
      .argument('<name>')
      .action(async (name: string) => {
        using deck = open(global(), false)
        await deck.users.update(deck.named(name).id, { disabled })
        deck.record('userUpdate', `${disabled ? 'Disabled' : 'Enabled'} ${name} on the command line.`)
        say(`${name} is ${disabled ? 'disabled' : 'enabled'}.`)
      })
  }
  user
    .command('reset-factor')
    .description('take away the second factors of a person who lost them; ends their sessions')
    .argument('<name>')
    .action((name: string) => {
      using deck = open(global(), false)
      const { id } = deck.named(name)
      deck.store.transaction(() => {
        deck.store.delete('factor', id)
        for (const { key, value } of deck.store.list<SessionDocument>('session')) {
          if (value.userId === id) deck.store.delete('session', key)
        }
      })
      deck.record('userFactorsReset', `Took away the second factors of ${name} on the command line.`)
      say(`${name} signs in without a second factor now; their sessions ended.`)
    })
  user
    .command('delete')
    .description('remove a person who owns no VM')
    .argument('<name>')
    .action((name: string) => {
      using deck = open(global(), false)
      deck.users.delete(deck.named(name).id)
      deck.record('userDelete', `Removed ${name} on the command line.`)
      say(`Removed ${name}.`)
    })

  const token = program.command('token').description('API tokens')
  token
    .command('create')
    .description('create an API token and print it, alone; it cannot be shown again')
    .requiredOption('--user <name>', 'whose token it is: it may do what they may')
    .requiredOption('--label <text>', 'what it is for')
    .option('--expires-days <n>', 'days until it stops working (default: never)', days)
    .action((options: { user: string; label: string; expiresDays?: number }) => {
      const label = options.label.trim()
      if (label === '' || label.length > 64) throw new UsageError('The label needs 1 to 64 characters.')
      using deck = open(global(), false)
      const owner = deck.named(options.user)
      if (owner.disabled) throw new EngineError('conflict', `${owner.name} is disabled; enable them first.`)
      const { secret } = deck.tokens.create({ userId: owner.id, label, expiresInDays: options.expiresDays })
      deck.record('tokenCreate', `Created an API token for ${owner.name} on the command line.`)
      say(secret)
    })
  token
    .command('list')
    .description('show API tokens, without their secrets')
    .option('--user <name>', 'only those of one person')
    .action((options: { user?: string }) => {
      using deck = open(global(), false)
      const names = new Map(deck.users.list().map((person) => [person.id, person.name]))
      const only = options.user === undefined ? undefined : deck.named(options.user).id
      table([
        ['ID', 'USER', 'LABEL', 'EXPIRES', 'LAST USED'],
        ...deck.tokens
          .list(only)
          .map((t) => [t.id, names.get(t.userId) ?? '?', t.label, t.expiresAt ?? 'never', t.lastUsedAt ?? 'never']),
      ])
    })
  token
    .command('revoke')
    .description('make an API token useless')
    .argument('<id>', 'as `token list` shows it')
    .action((id: string) => {
      using deck = open(global(), false)
      const gone = deck.tokens.delete(id)
      deck.record('tokenDelete', `Revoked the API token "${gone.label}" on the command line.`)
      say(`Revoked ${gone.label}.`)
    })
  program
    .command('audit')
    .description('the activity log')
    .command('verify')
    .description('check that no line of the activity log was changed, added or taken out; exit 1 when one was')
    .option('--head <hash>', 'hash of a line noted earlier, which the log must still hold')
    .action(({ head }: { head?: string }) => {
      using deck = open(global(), false)
      const verdict = deck.store.verifyLog()
      if (verdict.brokenAt !== null)
        throw new EngineError('conflict', `The chain of the activity log breaks at line ${verdict.brokenAt}.`)
      if (head !== undefined && !holds(deck.store, head))
        throw new EngineError(
          'conflict',
          'The activity log no longer holds the line with that hash: lines were cut off or the log was made anew.',
        )
      say(
        `${verdict.lines} lines are as they were written${verdict.unchained > 0 ? ` (${verdict.unchained} of them older than the chain)` : ''}.`,
      )
      if (verdict.head !== null) say(`Newest line: ${verdict.lastId}, hash ${verdict.head}`)
    })
  return program
}

/** Whether some line of the log has this hash. */
function holds(store: ReturnType<typeof openStore>, hash: string): boolean {
  for (let after = 0; ; ) {
    const lines = store.logAfter(after, 5000)
    if (lines.some((line) => line.hash === hash)) return true
    const last = lines.at(-1)
    if (last === undefined) return false
    after = last.id
  }
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}

try {
  await build().parseAsync(process.argv)
} catch (error) {
  if (error instanceof CommanderError) {
    // commander has written its message already; help and version end this way too, with 0.
    process.exitCode = error.exitCode === 0 ? 0 : 2
  } else if (error instanceof UsageError) {
    process.stderr.write(`guestdeck: ${error.message}\n`)
    process.exitCode = 2
  } else if (error instanceof EngineError || error instanceof ConfigError) {
    process.stderr.write(`guestdeck: ${error.message}\n`)
    process.exitCode = 1
  } else {
    throw error
  }
}
