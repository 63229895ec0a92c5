/** Replays a serial console in xterm.js. Output may do no more here than live: it is answered by nobody. */
import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'
import { guardAnswers } from '#components/console/terminal-answers.ts'
import { parseCast } from '#lib/recording/asciicast.ts'
import { fetchRecording, type Replay, UnplayableError } from './replay.ts'

const FOREGROUND = '#dcdfe4'
const SCROLLBACK_LINES = 10_000
/** Read as a whole. A hundred hours of somebody typing are less; what a guest floods is for other players. */
const MAX_MIB = 64

/** @param target must be empty and belong to the replay until `dispose` @throws UnplayableError */
export async function openSerialReplay(target: HTMLElement, url: string, signal: AbortSignal): Promise<Replay> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  await fetchRecording(url, signal, (chunk) => {
    bytes += chunk.length
    if (bytes > MAX_MIB << 20)
      throw new UnplayableError(`It is larger than ${MAX_MIB} MiB. Save it, and play it with asciinema.`)
    text += decoder.decode(chunk, { stream: true })
  })
  signal.throwIfAborted()
  const cast = parseCast(text)
  if (cast === null) throw new UnplayableError('It is no recording of a serial console.')
  const { output, durationMs } = cast

  const style = getComputedStyle(target)
  const terminal = new Terminal({
    allowProposedApi: false,
    disableStdin: true,
    fontFamily: style.fontFamily,
    fontSize: 14,
    screenReaderMode: true,
    scrollback: SCROLLBACK_LINES,
    theme: { background: style.backgroundColor, foreground: FOREGROUND, cursor: FOREGROUND },
    windowOptions: {},
  })
  const fit = new FitAddon()
  terminal.loadAddon(fit)
  const offAnswers = guardAnswers(terminal.parser, () => false)
  terminal.open(target)
  fit.fit()
  const resizes = new ResizeObserver(() => fit.fit())
  resizes.observe(target)

  let next = 0
  return {
    durationMs,
    show(positionMs) {
      const shown = output[next - 1]
      if (shown !== undefined && shown.atMs > positionMs) {
        terminal.reset()
        next = 0
      }
      let due = ''
      for (let line = output[next]; line !== undefined && line.atMs <= positionMs; line = output[next]) {
        due += line.text
        next++
      }
      if (due !== '') terminal.write(due)
    },
    onFailure() {
      // All of it is here.
    },
    dispose() {
      resizes.disconnect()
      offAnswers()
      terminal.dispose()
    },
  }
}
