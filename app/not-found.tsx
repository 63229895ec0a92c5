import { NotFound } from '#components/nav/not-found.tsx'

export default function Page() {
  return (
    <main className="mx-auto max-w-xl p-6">
      <NotFound />
    </main>
  )
}
