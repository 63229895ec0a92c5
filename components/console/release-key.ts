/** Ctrl+Alt+G, as in QEMU's own windows: the keyboard goes back to the page. */
export function isReleaseKey(event: Pick<KeyboardEvent, 'ctrlKey' | 'altKey' | 'code'>): boolean {
  return event.ctrlKey && event.altKey && event.code === 'KeyG'
}
