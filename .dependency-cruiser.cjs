/**
 * Who may import whom (docs/architecture.md). Run by `scripts/check-imports.mjs`, which also fails when no modules
 * were seen: with TypeScript 7, whose compiler has no JavaScript API, the default parser finds none and says all is
 * well. Hence `parser: 'swc'`.
 */

/** Packages a browser bundle or a pure module may never see. */
const ENGINE = '^(server|cli|scripts|e2e|bench)/'
const TEST_FILE = '\\.test\\.(ts|tsx|mjs)$'
const TEST_DOUBLE =
  '(^|/)(__fixtures__|__golden__|__mocks__)/|(^|/|[-.])(fake|mock|stub)s?[-.][^/]*$|[-.](fake|mock|stub)s?\\.tsx?$'
/** Code that exists for tests alone: it may use doubles, and nothing else may use it. */
const TEST_ONLY = `${TEST_FILE}|^(e2e|bench)/|${TEST_DOUBLE}|(^|/)testing/|[-.]testing\\.ts$|(^|/)test-[^/]*\\.ts$`

const rule = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to })

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    rule('no-cycles', 'Two modules that need each other are one module, or miss a third.', {}, { circular: true }),
    rule('resolvable', 'An import must lead to a file or an installed package.', {}, { couldNotResolve: true }),
    rule(
      'pages-never-engine',
      'Pages get their data from the API; not even types of the server belong in them.',
      { path: '^(app|components|lib)/', pathNot: TEST_FILE },
      { path: ENGINE },
    ),
    rule('components-below-app', 'A component does not know its page.', { path: '^components/' }, { path: '^app/' }),
    rule(
      'ui-knows-lib-only',
      'Primitives know neither queries, routes nor forms.',
      { path: '^components/ui/', pathNot: TEST_FILE },
      { path: '^(app|lib/client|components/(?!ui/))' },
    ),
    rule(
      'ui-without-data-packages',
      'Primitives know neither queries, routes nor forms.',
      { path: '^components/ui/', pathNot: TEST_FILE },
      { path: 'node_modules/(@tanstack/react-query|react-hook-form|@hookform)/' },
    ),
    rule(
      'lib-below-all',
      'lib is shared by the server and the browser: it imports itself alone.',
      { path: '^lib/', pathNot: TEST_FILE },
      { path: '^(app|components|public)/' },
    ),
    rule(
      'lib-needs-zod-only',
      'Whatever lib needs, every bundle and the server carry.',
      { path: '^lib/', pathNot: `^lib/(client|i18n|console|seed)/|${TEST_FILE}` },
      { path: 'node_modules/', pathNot: 'node_modules/zod/' },
    ),
    rule(
      'seeds-need-yaml',
      'cloud-init reads YAML, which the browser and the server write and check alike.',
      { path: '^lib/seed/', pathNot: TEST_FILE },
      { path: 'node_modules/', pathNot: 'node_modules/(zod|yaml)/' },
    ),
    rule(
      'lib-below-client',
      'lib/client is the browser side of lib, not a part of it.',
      { path: '^lib/', pathNot: `^lib/client/|${TEST_FILE}` },
      { path: '^lib/client/' },
    ),
    rule(
      'browser-without-node',
      'Runs in a browser.',
      { path: '^(app|components|lib)/', pathNot: TEST_FILE },
      { dependencyTypes: ['core'] },
    ),
    rule(
      'pure-core-without-system',
      'Pure: no files, clock or environment, so that golden files and properties can test it.',
      { path: '^server/(spec|interop)/|^server/vm/transitions', pathNot: TEST_ONLY },
      { dependencyTypes: ['core'] },
    ),
    rule(
      'pure-core-imports',
      'The compiler and the transitions know facts handed to them, never who fetched these.',
      { path: '^server/(spec|interop)/|^server/vm/transitions', pathNot: TEST_ONLY },
      {
        path: '^server/',
        pathNot:
          '^server/(spec|interop)/|^server/vm/(transitions|types)|^server/capabilities/types\\.ts$|^server/engine/errors\\.ts$',
      },
    ),
    rule(
      'qmp-imports',
      'The QMP client knows a socket, not what the dashboard does with it.',
      { path: '^server/qmp/', pathNot: TEST_ONLY },
      { path: '^server/', pathNot: '^server/(qmp|platform)/' },
    ),
    rule(
      'store-alone-knows-the-database',
      'Nothing but the store knows what keeps it.',
      { path: '^(server|cli)/', pathNot: `^server/store/|${TEST_ONLY}` },
      { path: '^(node:)?sqlite$' },
    ),
    rule(
      'engine-below-http',
      'HTTP is one way to reach the engine; the engine knows none.',
      { path: '^server/', pathNot: `^server/(http/|main\\.ts$)|${TEST_ONLY}` },
      { path: '^server/http/' },
    ),
    rule(
      'routes-through-the-engine',
      'Routes hold no logic: they call the engine, sign-in and the consoles.',
      { path: '^server/http/', pathNot: TEST_ONLY },
      { path: '^server/(qmp|qga|spec|vm|storage|images|host|capabilities|store)/', pathNot: '/types\\.ts$' },
    ),
    rule(
      'cli-never-server',
      'The command is a client of the API and of the data directory, through lib.',
      { path: '^cli/', pathNot: TEST_FILE },
      { path: '^server/' },
    ),
    rule(
      'interfaces-by-the-launcher',
      'Taps are made, limited and removed by the verbs of the launcher.',
      { path: '^server/', pathNot: `^server/(launcher|network)/|${TEST_ONLY}` },
      { path: '^server/network/(taps|rate-limit|links)\\.ts$' },
    ),
    rule(
      'launcher-imports',
      'What may run as root is small: it knows the operating system and whose process is whose, nothing of the web.',
      { path: '^server/launcher/', pathNot: TEST_ONLY },
      {
        path: '^server/',
        pathNot:
          '^server/(launcher|platform|network)/|^server/vm/(helpers/)?identity\\.ts$|^server/storage/(pool-child|identity)\\.ts$|^server/(config-error|engine/errors)\\.ts$',
      },
    ),
    rule('main-imported-by-nobody', 'main.ts and admin.ts are wiring.', {}, { path: '^server/(main|admin)\\.ts$' }),
    rule(
      'no-test-code-in-production',
      'Test doubles, captures and the tests themselves stay out of what runs.',
      { path: '^(app|components|lib|server|cli)/', pathNot: TEST_ONLY },
      { path: `${TEST_FILE}|^(e2e|bench)/|${TEST_DOUBLE}|(^|/)test-[^/]*\\.ts$` },
    ),
    rule(
      'no-dev-packages-in-production',
      'What runs may need only what is installed for running.',
      { path: '^(app|components|lib|server|cli)/', pathNot: TEST_ONLY },
      { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    ),
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(\\.next|\\.cache)/|\\.css$' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.tsx', '.mjs', '.js', '.cjs', '.json', '.d.ts'],
      mainFields: ['module', 'main', 'types'],
    },
  },
}
