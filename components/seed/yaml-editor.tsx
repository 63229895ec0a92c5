'use client'
import { yaml } from '@codemirror/lang-yaml'
import { type Diagnostic, linter, lintGutter } from '@codemirror/lint'
import { basicSetup, EditorView } from 'codemirror'
import { useEffect, useRef } from 'react'
import type { TextProblem } from '#lib/seed/yaml-text.ts'

export interface YamlEditorProps {
  readonly label: string
  readonly value: string
  readonly onValue: (text: string) => void
  readonly check: (text: string) => readonly TextProblem[]
  readonly wordsOf: (problem: TextProblem) => string
  /** Not every text of a seed is YAML. */
  readonly isYaml: boolean
}

/** Colours come from the page's tokens, so that both themes are right. */
const THEME = EditorView.theme({
  '&': { backgroundColor: 'var(--color-surface)', color: 'var(--color-ink)', fontSize: '13px' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--font-mono)', maxHeight: '28rem', minHeight: '12rem' },
  '.cm-gutters': { backgroundColor: 'var(--color-sunken)', color: 'var(--color-faint)', border: 'none' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--color-hover)' },
  '.cm-cursor': { borderLeftColor: 'var(--color-ink)' },
  // CodeMirror's colours are made for a white ground: what it marks has one of ours, legible in both themes.
  '.cm-line > span': { color: 'var(--color-accent)' },
  // The page's own selection is white on blue; here the editor paints the ground.
  '.cm-line::selection, .cm-line ::selection': { color: 'var(--color-ink)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    backgroundColor: 'var(--color-selected)',
  },
  '.cm-tooltip': { backgroundColor: 'var(--color-raised)', color: 'var(--color-ink)' },
})

/** One editor for the life of the component; it owns the text, the page hears of changes. */
export function YamlEditor(props: YamlEditorProps) {
  const host = useRef<HTMLDivElement>(null)
  const latest = useRef(props)
  useEffect(() => {
    latest.current = props
  })
  const view = useRef<EditorView>(null)
  useEffect(() => {
    if (host.current === null) return
    const { label, value, isYaml } = latest.current
    const editor = new EditorView({
      parent: host.current,
      doc: value,
      // Tab leaves the editor, as it leaves every other field.
      extensions: [
        basicSetup,
        ...(isYaml ? [yaml()] : []),
        lintGutter(),
        linter((current) => diagnostics(current.state, latest.current), { delay: 300 }),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': label }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) latest.current.onValue(update.state.doc.toString())
        }),
        THEME,
      ],
    })
    view.current = editor
    return () => {
      view.current = null
      editor.destroy()
    }
  }, [])
  const { value } = props
  useEffect(() => {
    const editor = view.current
    if (editor === null || editor.state.doc.toString() === value) return
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } })
  }, [value])
  return <div ref={host} className="overflow-hidden rounded-md border border-edge" />
}

function diagnostics(state: EditorView['state'], { check, wordsOf }: YamlEditorProps): Diagnostic[] {
  return check(state.doc.toString()).map((problem) => {
    const line = state.doc.line(Math.min(Math.max(problem.line, 1), state.doc.lines))
    const from = Math.min(line.from + problem.column - 1, line.to)
    return { from, to: line.to, severity: problem.severity, message: wordsOf(problem) }
  })
}
