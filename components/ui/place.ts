/** Puts `box` (position: fixed) below `anchor`, or above when there is no room, and keeps it inside the window. */
export function place(box: HTMLElement, anchor: HTMLElement, gapPx = 4, align: 'start' | 'center' = 'start'): void {
  const edgePx = 8
  const a = anchor.getBoundingClientRect()
  const { offsetWidth: width, offsetHeight: height } = box
  const below = a.bottom + gapPx
  const fits = below + height <= innerHeight - edgePx
  const top = fits ? below : Math.max(edgePx, a.top - gapPx - height)
  // Menus hang from the side that leaves them inside: right-aligned triggers open to the left.
  const wanted =
    align === 'center'
      ? a.left + a.width / 2 - width / 2
      : a.left + width <= innerWidth - edgePx
        ? a.left
        : a.right - width
  box.style.left = `${Math.round(Math.min(Math.max(edgePx, wanted), Math.max(edgePx, innerWidth - width - edgePx)))}px`
  box.style.top = `${Math.round(top)}px`
}
