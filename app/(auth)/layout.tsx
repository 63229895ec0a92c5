import type { ReactNode } from 'react'

export default function AuthLayout({ children }: { readonly children: ReactNode }) {
  return (
    <main className="mx-auto flex min-h-dvh w-full max-w-sm flex-col justify-center gap-6 px-4 pt-8 pb-[18dvh]">
      <p className="flex items-center gap-2 font-semibold">
        <svg viewBox="0 0 20 20" className="size-5" aria-hidden="true" fill="none">
          <path d="M6 2.75h11.25V11M4 5.25h10.75v9" className="stroke-faint" strokeWidth="1.5" />
          <path d="M1.75 7.75h10.5v9H1.75z" className="fill-accent-fill stroke-accent-fill" strokeWidth="1.5" />
        </svg>
        Guestdeck
      </p>
      {children}
    </main>
  )
}
