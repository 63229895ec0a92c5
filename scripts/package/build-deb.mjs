/**
 * Makes the Debian package from the working tree: the program, its pages as built, the packages it needs when it runs,
 * and the Node it runs on. Nothing is fetched.
 *
 *   node scripts/package/build-deb.mjs [--out DIR] [--version V] [--fast]
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' }
/** Already inside the built pages, or needed only to build them. */
const BUILD_ONLY =
  /^(@next\/swc-|@tailwindcss\/|tailwindcss$|lightningcss|lucide-react$|playwright|@playwright\/|@img\/|sharp$|caniuse-lite$|jiti$|csstype$|@codemirror\/|codemirror$|@lezer\/)/
/** Code for tests alone. */
const IS_TEST = /(^|\/)(__golden__|__fixtures__|testing)(\/|$)|(^|\/)test-[^/]*\.ts$|\.test\.(ts|tsx|mjs)$/
const DEPENDS = ['qemu-system-x86 | qemu-system-arm', 'qemu-utils', 'bubblewrap', 'iproute2', 'util-linux', 'adduser']
const RECOMMENDS = ['ovmf', 'swtpm', 'swtpm-tools', 'qemu-system-gui', 'libguestfs-tools']

/** Directories of packages the program needs when it runs, relative to the root. */
function runtimePackages() {
  const listed = execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return listed
    .split('\n')
    .map((path) => relative(root, path))
    .filter((path) => path.startsWith('node_modules/'))
    .filter((path) => !BUILD_ONLY.test(path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)))
}

/** @param {string} stage directory that becomes the root of the package */
function stageProgram(stage) {
  const home = join(stage, 'usr/lib/guestdeck')
  const copy = (name, filter = () => true) =>
    cpSync(join(root, name), join(home, name), { recursive: true, filter: (from) => filter(relative(root, from)) })
  for (const name of ['server', 'lib', 'cli']) copy(name, (path) => !IS_TEST.test(path))
  if (existsSync(join(root, 'public'))) copy('public')
  copy('.next', (path) => !/^\.next\/(cache|dev|types|trace|diagnostics)/.test(path))
  for (const path of runtimePackages()) {
    copy(path, (inner) => !inner.slice(path.length).includes('/node_modules/') && !inner.endsWith('.map'))
  }
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  // The configuration as JavaScript: compiling it takes the compiler along.
  const config = stripTypeScriptTypes(readFileSync(join(root, 'next.config.ts'), 'utf8'))
  writeFileSync(join(home, 'next.config.mjs'), config)
  mkdirSync(join(home, 'bin'))
  symlinkSync(`../node_modules/node-linux-${process.arch}/bin/node`, join(home, 'bin/node'))
  return { home, manifest }
}

function stageSystem(stage, home, manifest, version) {
  const { name, type, imports, license } = manifest
  writeFileSync(join(home, 'package.json'), `${JSON.stringify({ name, version, type, license, imports }, null, 2)}\n`)
  const place = (from, to, mode = 0o644) => {
    mkdirSync(join(stage, dirname(to)), { recursive: true })
    cpSync(join(root, from), join(stage, to))
    chmodSync(join(stage, to), mode)
  }
  place('scripts/package/guestdeck.service', 'lib/systemd/system/guestdeck.service')
  place('scripts/package/debian/default', 'etc/default/guestdeck')
  place('LICENSE', 'usr/share/doc/guestdeck/copyright')
  place('docs/operators-guide.md', 'usr/share/doc/guestdeck/operators-guide.md')
  place('CHANGELOG.md', 'usr/share/doc/guestdeck/CHANGELOG.md')
  mkdirSync(join(stage, 'usr/bin'), { recursive: true })
  writeFileSync(
    join(stage, 'usr/bin/guestdeck'),
    '#!/bin/sh\nexec /usr/lib/guestdeck/bin/node /usr/lib/guestdeck/cli/guestdeck.mjs "$@"\n',
  )
  chmodSync(join(stage, 'usr/bin/guestdeck'), 0o755)
}

function stageControl(stage, manifest, version) {
  const control = join(stage, 'DEBIAN')
  mkdirSync(control, { recursive: true })
  const [kib = '0'] = execFileSync('du', ['-sk', '--exclude=DEBIAN', stage], { encoding: 'utf8' }).split('\t')
  const fields = {
    Package: 'guestdeck',
    Version: version,
    Architecture: ARCHITECTURES[process.arch],
    Maintainer: 'Guestdeck developers <guestdeck@localhost>',
    'Installed-Size': kib,
    Depends: DEPENDS.join(', '),
    Recommends: RECOMMENDS.join(', '),
    Section: 'admin',
    Priority: 'optional',
    Description: `${manifest.description}\n Create, run and look after virtual machines in a browser: screens and serial\n consoles, snapshots, clones, backups, without libvirt.`,
  }
  writeFileSync(
    join(control, 'control'),
    Object.entries(fields)
      .map(([field, value]) => `${field}: ${value}\n`)
      .join(''),
  )
  writeFileSync(join(control, 'conffiles'), '/etc/default/guestdeck\n')
  for (const script of ['preinst', 'postinst', 'prerm', 'postrm']) {
    cpSync(join(root, 'scripts/package/debian', script), join(control, script))
    chmodSync(join(control, script), 0o755)
  }
}

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'dist') },
    version: { type: 'string', multiple: true },
    /** Quick instead of small, for tests. */
    fast: { type: 'boolean', default: false },
  },
})
if (!(process.arch in ARCHITECTURES)) throw new Error(`there is no package for ${process.arch}`)
if (!existsSync(join(root, '.next/BUILD_ID'))) {
  process.stderr.write('guestdeck: the pages are not built; run: npm run package\n')
  process.exit(1)
}
const stage = mkdtempSync(join(tmpdir(), 'gd-deb-'))
try {
  chmodSync(stage, 0o755)
  const { home, manifest } = stageProgram(stage)
  mkdirSync(values.out, { recursive: true })
  // Files are as the package has them whoever builds it, and whatever the umask is.
  execFileSync('chmod', ['-R', 'u=rwX,go=rX', stage])
  for (const version of values.version ?? [manifest.version]) {
    stageSystem(stage, home, manifest, version)
    rmSync(join(stage, 'DEBIAN'), { recursive: true, force: true })
    stageControl(stage, manifest, version)
    const file = join(values.out, `guestdeck_${version}_${ARCHITECTURES[process.arch]}.deb`)
    const compression = values.fast ? ['-Zgzip', '-z1'] : ['-Zxz']
    execFileSync('dpkg-deb', ['--build', '--root-owner-group', ...compression, stage, file], { stdio: 'ignore' })
    process.stdout.write(`${relative(process.cwd(), file) || basename(file)}\n`)
  }
} finally {
  rmSync(stage, { recursive: true, force: true })
}
