/** Composition root: reads the configuration, puts the parts together, starts and stops them. Nothing imports it. */
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer, isIP, type Server } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const NEEDED_MAJOR = 24
if (Number(process.versions.node.split('.')[0]) < NEEDED_MAJOR) {
  // Before anything else is loaded: on an older Node the parts below do not even link.
  process.stderr.write(`guestdeck: needs Node ${NEEDED_MAJOR}, this is ${process.versions.node}. Use: npm start\n`)
  process.exit(1)
}

const HELP = `Usage: npm start -- [options]

  --host ADDRESS    address to listen on (default 127.0.0.1, GUESTDECK_HOST)
  --port PORT       port to listen on (default 8686, GUESTDECK_PORT)
  --data DIR        data directory (default /var/lib/guestdeck for root, GUESTDECK_DATA)
  --tls MODE        self-signed, files or acme: serve HTTPS (GUESTDECK_TLS)
  --insecure-http   allow plain HTTP on an address other than loopback
  --api-only        serve the API without pages
  --dev             rebuild pages as they change
  --version, --help
`
const root = join(import.meta.dirname, '..')
const EXIT_MS = 3000
const BACKUP_EVERY_MS = 24 * 3_600_000

class StartError extends Error {}

function readFlags() {
  try {
    return parseArgs({
      options: {
        host: { type: 'string' },
        port: { type: 'string' },
        data: { type: 'string' },
        dev: { type: 'boolean' },
        'api-only': { type: 'boolean' },
        'insecure-http': { type: 'boolean' },
        tls: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new StartError(`${error instanceof Error ? error.message : String(error)} (try --help)`)
  }
}

function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '0'
}

const isLoopback = (host: string) =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

function listenError(error: unknown, host: string, port: number): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') {
    return new StartError(`Port ${port} of ${host} is in use by another program. Choose another with --port.`)
  }
  if (code === 'EACCES') return new StartError(`Port ${port} needs privileges. Choose one above 1023 with --port.`)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new StartError(`${host} is not an address of this machine. Choose another with --host.`)
  }
  return error
}

/** Takes the port; whoever connects before the pages are there is turned away, as if it were not taken. @throws StartError */
async function listenEarly(host: string, port: number): Promise<Server> {
  const server = createServer((socket) => socket.destroy())
  try {
    await once(server.listen({ host, port, exclusive: true }), 'listening')
  } catch (error) {
    throw listenError(error, host, port)
  }
  return server
}

async function main(): Promise<void> {
  const flags = readFlags()
  if (flags.help) return void process.stdout.write(HELP)
  if (flags.version) return void process.stdout.write(`${packageVersion()}\n`)

  // What can refuse the start comes first, and is all that has to be loaded for it.
  const [
    { pino },
    { readConfig },
    { assertSocketPathsFit, dataPaths },
    { guestIdentity },
    { prepareDataDir },
    { takeDashboardLock },
    { openStore },
    { openCertificate, describeConnection },
    { openControlGroups },
    { startedAsRoot },
    { leaveRoot },
    { rootActs },
  ] = await Promise.all([
    import('pino'),
    import('#server/config.ts'),
    import('#server/paths.ts'),
    import('#server/storage/identity.ts'),
    import('#server/store/data-dir.ts'),
    import('#server/store/lock.ts'),
    import('#server/store/sqlite.ts'),
    import('#server/tls/open.ts'),
    import('#server/cgroups/groups.ts'),
    import('#server/platform/privileges.ts'),
    import('#server/without-root.ts'),
    import('#server/launcher/acts.ts'),
  ])

  const isRoot = startedAsRoot
  const config = readConfig(
    process.env,
    {
      ...(flags.host !== undefined && { host: flags.host }),
      ...(flags.port !== undefined && { port: flags.port }),
      ...(flags.data !== undefined && { data: flags.data }),
      dev: flags.dev === true,
      apiOnly: flags['api-only'] === true,
      insecureHttp: flags['insecure-http'] === true,
      ...(flags.tls !== undefined && { tls: flags.tls }),
    },
    isRoot,
  )
  const log = pino(
    {
      level: config.logLevel,
      redact: { paths: ['*.authorization', '*.cookie', '*.ticket', '*.password', '*.secret', '*.token'], censor: '…' },
    },
    pino.destination({ dest: 2, sync: true }),
  )
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'))

  const behindProxy = config.tls === 'off' && !config.insecureHttp && config.trustedProxies.length > 0
  if (!isLoopback(config.host) && config.tls === 'off' && !behindProxy) {
    if (!config.insecureHttp) {
      throw new StartError(
        `${config.host} is reachable from other machines and this is plain HTTP. Serve HTTPS with --tls self-signed, keep it on 127.0.0.1 behind an SSH tunnel or a TLS proxy, name the proxy in GUESTDECK_TRUSTED_PROXIES, or allow it with --insecure-http.`,
      )
    }
    log.warn(`Listening on ${config.host} without TLS: passwords and consoles can be read on the network.`)
  }

  // Everything that can refuse the start comes before anything is touched.
  try {
    assertSocketPathsFit(config.runDir)
  } catch (error) {
    throw new StartError(error instanceof Error ? error.message : String(error))
  }
  const data = dataPaths(config.dataDir)
  prepareDataDir(data.root, isRoot, (sentence) => log.warn(sentence))
  const identity = guestIdentity(isRoot)
  try {
    mkdirSync(config.runDir, { recursive: true, mode: 0o711 })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new StartError(`The run directory ${config.runDir} cannot be created (${code}). Set GUESTDECK_RUN.`)
  }
  const warn = (message: string, error?: unknown) => log.warn(error === undefined ? {} : { err: error }, message)
  let webhookSecret: string | null = null
  try {
    if (config.auditWebhookSecretFile !== null)
      webhookSecret = readFileSync(config.auditWebhookSecretFile, 'utf8').trim()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new StartError(`The file of GUESTDECK_AUDIT_WEBHOOK_SECRET_FILE cannot be read (${code}).`)
  }
  const groups = await openControlGroups({
    setting: config.cgroup,
    // Asked of whoever does the acts by then.
    enclose: (request) => rootActs().enclose(request),
    warn,
  })
  const who = await leaveRoot({ config, data, identity, program: root, groups: groups.dir, log, listen: listenEarly })
  const lock = takeDashboardLock(data.lock)
  process.on('exit', () => lock.release())
  const certificate = await openCertificate(config, data.tlsDir, {
    info: (message) => log.info(message),
    warn: (message) => log.warn(message),
  })
  const store = openStore(data)

  const [
    { startShipper, syslogSink, webhookSink },
    { createAccess },
    { createAuth },
    { openSealer },
    { createCapabilitiesProbe },
    { createConsoleRouter },
    { createSerialHub },
    { createTickets },
    { createEngine },
    { isGuestCredential },
    { EventHub },
    { kvmOpensFor, unprivilegedUser },
    { createHostService },
    { createHttpApp },
    { createSupervisor },
  ] = await Promise.all([
    import('#server/audit/shipper.ts'),
    import('#server/access/access.ts'),
    import('#server/auth/auth.ts'),
    import('#server/auth/sealer.ts'),
    import('#server/capabilities/probe.ts'),
    import('#server/console/router.ts'),
    import('#server/console/serial-hub.ts'),
    import('#server/console/tickets.ts'),
    import('#server/engine/create.ts'),
    import('#server/engine/guest-links.ts'),
    import('#server/events/hub.ts'),
    import('#server/host/accelerator.ts'),
    import('#server/host/host.ts'),
    import('#server/http/app.ts'),
    import('#server/vm/supervisor.ts'),
  ])

  // One for both, so that open connections are judged by what has just changed.
  const access = createAccess(store, (message, error) => log.warn(error === undefined ? {} : { err: error }, message))
  const auth = createAuth(store, openSealer(data.sealKey), { access })
  const shipper = startShipper(
    store,
    [
      ...(config.auditSyslog === null ? [] : [syslogSink(config.auditSyslog)]),
      ...(config.auditWebhook === null ? [] : [webhookSink(config.auditWebhook, webhookSecret)]),
    ],
    (message, error) => log.warn(error === undefined ? {} : { err: error }, message),
  )
  const hub = new EventHub((error) => log.error({ err: error }, 'an event listener failed'))
  store.watch('user', ({ key, revision }) => {
    hub.publish('user', key, revision, undefined, { kind: revision === null ? 'gone' : 'change' })
  })
  const probeUser = unprivilegedUser()
  const probe = createCapabilitiesProbe({
    binary: config.qemu,
    cacheFile: data.capabilitiesCache,
    user: probeUser,
    kvmOpens: () => kvmOpensFor(probeUser),
  })
  const host = createHostService({
    capabilities: probe,
    policy: config.accel,
    user: probeUser,
    dataDir: data.root,
    guestdeckVersion: packageVersion(),
    controlGroups: groups.status,
    connection: () => describeConnection(config, isLoopback(config.host), certificate),
  })
  // Runs beside everything below; guests wait for it, the pages do not.
  const verdict = host.check()
  const supervisor = createSupervisor({
    runDir: config.runDir,
    createSerialHub,
    groups,
    warn: (message, error) => log.warn(error === undefined ? {} : { err: error }, message),
  })
  const tickets = createTickets()
  const consoles = createConsoleRouter({
    redeem: (ticket, vmId, kind) => tickets.redeem(ticket, vmId, kind),
    sources: supervisor,
    originAllowed: (request) => http.isOwnPage(request),
    remoteAddress: (request) => http.clientAddress(request),
    onRevoked(credentialId, revoked, grant) {
      if (isGuestCredential(credentialId)) return engine.consoles.onRevoked(credentialId, revoked)
      const offs = [auth.onRevoked(credentialId, revoked), engine.consoles.onOutOfReach(grant, revoked)]
      return () => {
        for (const off of offs) off()
      }
    },
    // Nobody connects before the server listens, and by then the engine is there.
    onOpen: (session) => engine.consoles.opened(session),
    onClose: (session, end) => engine.consoles.closed(session, end),
    onPresence: (vmId) => engine.consoles.presenceChanged(vmId),
    onControl: (change) => engine.consoles.control(change),
  })
  let listenPort = config.port
  const engine = await createEngine({
    config,
    listenPort: () => listenPort,
    data,
    store,
    access,
    supervisor,
    tickets,
    rooms: consoles,
    hub,
    capabilities: { current: () => probe.get() },
    accelerator: host,
    host,
    identity: { ...identity, summary: identity.summary + who.summary },
    log,
  })
  const { adopted, ended, unmanageable, strangers } = engine.adopted
  log.info({ adopted, ended, unmanageable, strangers }, 'looked for running guests')

  const pages = config.apiOnly
    ? null
    : (await import('#server/http/pages.ts')).createPages({
        dev: config.dev,
        dir: root,
        host: config.host,
        port: config.port,
        onError: (error) => log.error({ err: error }, 'a page failed'),
      })
  const http = createHttpApp({
    engine,
    auth,
    log,
    bindHost: config.host,
    allowedHosts: [...config.allowedHosts, ...config.tlsNames],
    insecureHttp: config.insecureHttp,
    ...(certificate !== null && { tls: { source: certificate, challenge: certificate.challenge } }),
    trustedProxies: config.trustedProxies,
    proxiesOnly: behindProxy,
    validateAnswers: config.dev,
    upgrades: [
      (request, socket, head) => consoles.handleUpgrade(request, socket, head),
      ...(pages ? [pages.upgrade] : []),
    ],
    ...(pages && { pages: pages.handle }),
  })
  try {
    if (who.early === null) await http.app.listen({ host: config.host, port: config.port })
    else {
      await http.app.ready()
      http.app.server.listen(who.early)
    }
  } catch (error) {
    throw listenError(error, config.host, config.port)
  }

  const { port } = http.app.server.address() as AddressInfo
  listenPort = port
  certificate?.begin()
  process.on('SIGHUP', () => {
    log.info('SIGHUP: looking for a newer certificate')
    certificate?.refresh().catch((error: unknown) => log.warn({ err: error }, 'the certificate could not be read'))
  })

  const { summary, auto } = await verdict
  log.info({ auto, summary }, 'looked at the accelerator')
  const shown = config.host.includes(':') ? `[${config.host}]` : config.host
  process.stdout.write(`Guestdeck is ready at http${certificate === null ? '' : 's'}://${shown}:${port}\n`)
  const shownCertificate = describeConnection(config, isLoopback(config.host), certificate).certificate
  if (shownCertificate?.selfSigned === true) {
    process.stdout.write(`Certificate, SHA-256: ${shownCertificate.fingerprint}\n`)
  }
  const code = auth.setupCode()
  if (code !== null) process.stdout.write(`Setup code: ${code}\n`)

  const stopping = new AbortController()
  engine.autostart(stopping.signal).catch((error: unknown) => log.error({ err: error }, 'autostart failed'))
  const backUp = () => {
    store.backUp().catch((error: unknown) => log.warn({ err: error }, 'the state database could not be backed up'))
  }
  setTimeout(backUp, 10_000).unref()
  setInterval(backUp, BACKUP_EVERY_MS).unref()

  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, 'stopping; guests keep running')
    setTimeout(() => process.exit(0), EXIT_MS).unref()
    stopping.abort()
    http.events.close()
    const closed = http.app.close()
    await consoles.closeAll()
    // Keep-alive and upgraded connections would hold the server open for ever.
    http.app.server.closeAllConnections()
    await Promise.allSettled([closed, engine.close(), pages?.close()])
    certificate?.close()
    auth.close()
    shipper.close()
    store.close()
    process.exit(0)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!stopping.signal.aborted) void stop(signal)
    })
  }
}

try {
  await main()
} catch (error) {
  // What an operator can mend is one line; anything else shows where it came from.
  const isOurs =
    error instanceof Error &&
    (error instanceof StartError || error.name === 'ConfigError' || error.name === 'CertificateError')
  process.stderr.write(`guestdeck: ${isOurs ? error.message : error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(1)
}
