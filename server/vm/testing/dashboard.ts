/**
 * A dashboard reduced to its supervisor, run as a process of its own so that tests can kill it: adopts what is there,
 * starts the VM named on its command line unless it runs already, says so on stdout, and stays.
 */
import { openLab } from './lab.ts'
import { withTpm } from './tpm.ts'

const [dir, vmId, mode = 'run'] = process.argv.slice(2)
if (dir === undefined || vmId === undefined) throw new Error('usage: dashboard.ts DIR VM-ID [run|spawn-only|tpm]')
const lab = await openLab(dir)
const supervisor = lab.supervisor()
await supervisor.adoptAll(new Map([[vmId, { lastExit: null }]]))
const bare = await lab.prepare(vmId, { display: true })
const prepared = mode === 'tpm' ? withTpm(bare, lab) : bare
if (mode === 'spawn-only') {
  // Dies by itself the moment QEMU exists, before its pid is on record.
  const { spawn } = await import('node:child_process')
  const { makePrivateDir, replaceFile } = await import('#server/platform/fs.ts')
  const { vmRunPaths } = await import('#server/paths.ts')
  const { commandOf, formatRecord, intentOf } = await import('#server/vm/run-record.ts')
  const { readBootId } = await import('#server/platform/fs.ts')
  const paths = vmRunPaths(lab.runDir, vmId)
  makePrivateDir(paths.dir)
  replaceFile(paths.launch, formatRecord(intentOf(prepared, 'ann', readBootId(), new Date().toISOString())))
  const [program = '', ...args] = commandOf(prepared.plan)
  spawn(program, args, { detached: true, stdio: 'ignore' })
  process.kill(process.pid, 'SIGKILL')
}
const runtime = await supervisor.start(vmId, 'ann', async () => prepared)
process.stdout.write(`${JSON.stringify({ pid: runtime.live?.pid })}\n`)
setInterval(() => {}, 60_000)
