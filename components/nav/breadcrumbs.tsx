import { useT } from '#lib/client/i18n.tsx'
import { app } from '#lib/i18n/messages/en/app.ts'
import { Link } from './link.tsx'

/** Where this page is; every step is a link. The last, the page itself, is the page's heading and not repeated. */
export function Breadcrumbs({
  steps,
}: {
  readonly steps: readonly { readonly href: string; readonly label: string }[]
}) {
  const t = useT(app)
  return (
    <nav aria-label={t('breadcrumbs')}>
      <ol className="flex flex-wrap items-center gap-1 text-sm">
        {steps.map((step, index) => (
          <li key={step.href} className="flex items-center gap-1">
            {index > 0 && (
              <span aria-hidden="true" className="text-faint">
                ▸
              </span>
            )}
            <Link href={step.href} className="text-dim">
              {step.label}
            </Link>
          </li>
        ))}
      </ol>
    </nav>
  )
}
