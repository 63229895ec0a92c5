import { Terminal } from '@xterm/xterm'
import { describe, expect, test } from 'vitest'
import { OutputLog } from './output-log.ts'
import { guardAnswers } from './terminal-answers.ts'

const QUERIES = {
  'primary device attributes': '\x1b[c',
  'secondary device attributes': '\x1b[>c',
  'tertiary device attributes': '\x1b[=c',
  'device status': '\x1b[5n',
  'cursor position': '\x1b[6n',
  'private cursor position': '\x1b[?6n',
  'mode request': '\x1b[?1$p',
  'ANSI mode request': '\x1b[4$p',
  'setting request': '\x1bP$q"p\x1b\\',
  'terminfo request': '\x1bP+q544e\x1b\\',
  'window size': '\x1b[18t',
  'window title': '\x1b[21t',
  'foreground colour': '\x1b]10;?\x1b\\',
  'background colour': '\x1b]11;?\x07',
  'palette colour': '\x1b]4;1;?\x07',
  'clipboard read': '\x1b]52;c;?\x07',
  version: '\x1b[>q',
}

/** Everything a terminal sends while it draws `output`. */
async function answersTo(output: string, mayAnswer: boolean): Promise<string> {
  const terminal = new Terminal({ allowProposedApi: false, windowOptions: {} })
  const off = guardAnswers(terminal.parser, () => mayAnswer)
  let answers = ''
  terminal.onData((text) => {
    answers += text
  })
  terminal.onBinary((text) => {
    answers += text
  })
  await new Promise<void>((resolve) => terminal.write(output, resolve))
  off()
  terminal.dispose()
  return answers
}

describe('what output may make a terminal do', () => {
  test.each(Object.entries(QUERIES))('a viewer does not answer: %s', async (_, query) => {
    expect(await answersTo(`before ${query} after`, false)).toBe('')
  })

  test('a controlling terminal answers what programs need', async () => {
    expect(await answersTo('\x1b[c', true)).toMatch(/^\x1b\[\?/)
    expect(await answersTo('ab\x1b[6n', true)).toBe('\x1b[1;3R')
  })

  test('no terminal hands out or takes the clipboard, and titles go nowhere', async () => {
    const terminal = new Terminal()
    guardAnswers(terminal.parser, () => true)
    const titles: string[] = []
    let answers = ''
    terminal.onTitleChange((title) => titles.push(title))
    terminal.onData((text) => {
      answers += text
    })
    await new Promise<void>((resolve) =>
      terminal.write('\x1b]0;evil\x07\x1b]2;evil\x07\x1b]52;c;ZXZpbA==\x07\x1b]52;c;?\x07text', resolve),
    )
    expect([titles, answers]).toEqual([[], ''])
    expect(terminal.buffer.active.getLine(0)?.translateToString(true)).toBe('text')
    terminal.dispose()
  })
})

describe('output log', () => {
  test('keeps the latest output within its bound', async () => {
    const log = new OutputLog(10)
    for (const text of ['first ', 'second ', 'third']) log.append(new TextEncoder().encode(text))
    expect(await log.toBlob().text()).toBe('third')
    expect(log.byteLength).toBe(5)
    log.clear()
    expect(log.byteLength).toBe(0)
  })
})
