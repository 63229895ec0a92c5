import NextLink from 'next/link'
import type { ComponentProps } from 'react'
import { type ButtonSize, type ButtonVariant, buttonClass } from '#components/ui/button.tsx'
import { cx } from '#components/ui/cx.ts'

type NextLinkProps = ComponentProps<typeof NextLink>

/** A link in running text or a table. Pages are fetched when pointed at, not when merely visible. */
export function Link({ className, ...rest }: NextLinkProps) {
  return (
    <NextLink
      prefetch={false}
      {...rest}
      className={cx('rounded-sm text-accent underline-offset-2 hover:underline', className)}
    />
  )
}

/** A link that looks like a button: it leads somewhere. */
export function ButtonLink({
  variant = 'plain',
  size = 'md',
  className,
  ...rest
}: NextLinkProps & { readonly variant?: ButtonVariant; readonly size?: ButtonSize }) {
  return <NextLink prefetch={false} {...rest} className={cx(buttonClass(variant, size), className)} />
}
