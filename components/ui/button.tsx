import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react'
import { cx } from './cx.ts'
import { Spinner } from './spinner.tsx'

export type ButtonVariant = 'primary' | 'plain' | 'quiet' | 'danger'
export type ButtonSize = 'md' | 'sm'

const BASE =
  'touch inline-flex shrink-0 select-none items-center justify-center gap-1.5 whitespace-nowrap rounded-md border font-medium transition-colors duration-100 aria-disabled:opacity-55'
const VARIANT: Record<ButtonVariant, string> = {
  primary: 'border-transparent bg-accent-fill text-on-accent not-aria-disabled:hover:bg-accent-hover',
  plain: 'border-edge bg-surface text-ink not-aria-disabled:hover:bg-hover',
  quiet: 'border-transparent text-dim not-aria-disabled:hover:bg-hover not-aria-disabled:hover:text-ink',
  danger: 'border-transparent bg-danger-fill text-on-danger not-aria-disabled:hover:bg-danger-hover',
}
const SIZE: Record<ButtonSize, string> = { md: 'h-8 px-3 text-base', sm: 'h-7 px-2 text-sm' }

/** Classes of a button, for links that look like one. */
export const buttonClass = (variant: ButtonVariant = 'plain', size: ButtonSize = 'md') =>
  cx(BASE, VARIANT[variant], SIZE[size])

export interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'disabled'> {
  readonly variant?: ButtonVariant
  readonly size?: ButtonSize
  readonly icon?: ReactNode
  /** Why it cannot be pressed now, as a sentence. The button stays focusable and says so. */
  readonly disabledReason?: string | null | undefined
  /** Shows that the press is being carried out and ignores further ones. */
  readonly pending?: boolean
  readonly ref?: Ref<HTMLButtonElement>
}

/** A button. `disabledReason` replaces `disabled`: what cannot be done says why. */
export function Button({
  variant = 'plain',
  size = 'md',
  icon,
  disabledReason,
  pending = false,
  className,
  children,
  onClick,
  type = 'button',
  ...rest
}: ButtonProps) {
  const inert = pending || Boolean(disabledReason)
  return (
    <button
      {...rest}
      type={type}
      className={cx(buttonClass(variant, size), className)}
      aria-disabled={inert || undefined}
      aria-busy={pending || undefined}
      aria-description={disabledReason || rest['aria-description']}
      data-tip={disabledReason || undefined}
      onClick={(event) => {
        if (inert) event.preventDefault()
        else onClick?.(event)
      }}
    >
      {pending ? <Spinner /> : icon}
      {children}
    </button>
  )
}

export interface IconButtonProps extends Omit<ButtonProps, 'children' | 'icon'> {
  /** Its name: read aloud, and shown on hover and focus. */
  readonly label: string
  readonly children: ReactNode
}

/** A button that shows only an icon; its name appears on hover. */
export function IconButton({
  label,
  children,
  size = 'md',
  variant = 'quiet',
  className,
  disabledReason,
  ...rest
}: IconButtonProps) {
  return (
    <Button
      {...rest}
      variant={variant}
      disabledReason={disabledReason}
      aria-label={label}
      {...(disabledReason ? {} : { 'data-tip': label })}
      className={cx(size === 'md' ? 'w-8' : 'w-7', 'px-0!', className)}
      size={size}
    >
      {children}
    </Button>
  )
}
