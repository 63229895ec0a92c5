/** Turning mark for work in progress. Decorative: say what is happening beside it. */
export function Spinner({ className = 'size-3.5' }: { readonly className?: string }) {
  return (
    <svg viewBox="0 0 16 16" className={`${className} shrink-0 animate-spin`} aria-hidden="true" fill="none">
      <circle cx="8" cy="8" r="6" stroke="currentColor" strokeOpacity="0.3" strokeWidth="2" />
      <path d="M14 8a6 6 0 0 0-6-6" stroke="currentColor" strokeWidth="2" strokeLinecap="round" />
    </svg>
  )
}
