import { NotFound } from '#components/nav/not-found.tsx'

export default function Page() {
  return (
    <main className="mx-auto flex min-h-dvh max-w-xl flex-col justify-center p-6">
      <NotFound />
    </main>
  )
}
