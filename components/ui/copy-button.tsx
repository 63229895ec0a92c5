'use client'
import { Check, Copy } from 'lucide-react'
import { useEffect, useState } from 'react'
import { IconButton } from './button.tsx'

/** Copies `text`; says so for two seconds, also to screen readers. */
export function CopyButton({
  text,
  label,
  copiedLabel,
}: {
  readonly text: string
  readonly label: string
  readonly copiedLabel: string
}) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 2_000)
    return () => clearTimeout(timer)
  }, [copied])
  return (
    <>
      <IconButton size="sm" label={label} onClick={() => void copyText(text).then(setCopied)}>
        {copied ? (
          <Check size={14} aria-hidden="true" className="text-running" />
        ) : (
          <Copy size={14} aria-hidden="true" />
        )}
      </IconButton>
      <span role="status" className="sr-only">
        {copied ? copiedLabel : ''}
      </span>
    </>
  )
}

/** Puts text on the clipboard; also on plain HTTP, where the Clipboard API is missing. Resolves to whether it worked. */
async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement('textarea')
    area.value = text
    area.style.position = 'fixed'
    area.style.opacity = '0'
    const host = document.activeElement?.closest('dialog') ?? document.body
    host.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    return done
  }
}
