/** For tests: Debian's slapd on loopback, with a directory of its own that goes away with the test. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const READY_MS = 30_000
const BASE = 'dc=lab,dc=example'

export interface LdapServer {
  readonly url: string
  readonly secureUrl: string
  readonly baseDn: string
  readonly bindDn: string
  readonly bindPassword: string
  /** PEM of the authority that signed its certificate. */
  readonly ca: string
  /** Applies changes in LDIF. */
  modify(ldif: string): void
  close(): Promise<void>
}

const PEOPLE = `
dn: ${BASE}
objectClass: dcObject
objectClass: organization
o: Lab
dc: lab

dn: ou=people,${BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,${BASE}
objectClass: organizationalUnit
ou: groups

dn: uid=ann,ou=people,${BASE}
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Lovelace
userPassword: horse of the lab

dn: uid=bob,ou=people,${BASE}
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Babbage
userPassword: cart of the lab

dn: cn=ops,ou=groups,${BASE}
objectClass: groupOfNames
cn: ops
member: uid=ann,ou=people,${BASE}

dn: cn=chiefs,ou=groups,${BASE}
objectClass: groupOfNames
cn: chiefs
member: uid=nobody,ou=people,${BASE}
`

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

export async function startLdap(): Promise<LdapServer> {
  const dir = mkdtempSync(join(tmpdir(), 'gd-ldap-'))
  const file = (name: string) => join(dir, name)
  mkdirSync(file('db'))
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
      ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', file('key.pem'), '-out', file('cert.pem')],
    ],
    { stdio: 'ignore' },
  )
  const bindDn = `cn=reader,${BASE}`
  const bindPassword = 'password of the reader'
  writeFileSync(
    file('slapd.conf'),
    `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile ${file('pid')}
TLSCertificateFile ${file('cert.pem')}
TLSCertificateKeyFile ${file('key.pem')}
allow bind_anon_cred bind_anon_dn
database mdb
maxsize 16777216
suffix "${BASE}"
rootdn "${bindDn}"
rootpw "${bindPassword}"
directory ${file('db')}
access to attrs=userPassword by anonymous auth by * none
access to * by * read
`,
  )
  execFileSync('/usr/sbin/slapadd', ['-f', file('slapd.conf')], { input: PEOPLE, stdio: ['pipe', 'ignore', 'inherit'] })
  const [port, securePort] = [await freePort(), await freePort()]
  const child: ChildProcess = spawn(
    '/usr/sbin/slapd',
    ['-d', '0', '-f', file('slapd.conf'), '-h', `ldap://127.0.0.1:${port} ldaps://127.0.0.1:${securePort}`],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const close = async () => {
    child.kill('SIGTERM')
    await ended
    rmSync(dir, { recursive: true, force: true })
  }
  const deadline = performance.now() + READY_MS
  while (!(await answers(port))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await close()
      throw new Error('slapd did not start')
    }
    await sleep(50)
  }
  return {
    url: `ldap://127.0.0.1:${port}`,
    secureUrl: `ldaps://127.0.0.1:${securePort}`,
    baseDn: BASE,
    bindDn,
    bindPassword,
    ca: readFileSync(file('cert.pem'), 'utf8'),
    modify: (ldif) =>
      void execFileSync('ldapmodify', ['-x', '-H', `ldap://127.0.0.1:${port}`, '-D', bindDn, '-w', bindPassword], {
        input: ldif,
        stdio: ['pipe', 'ignore', 'inherit'],
      }),
    close,
  }
}
