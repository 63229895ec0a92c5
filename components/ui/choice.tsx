import { type InputHTMLAttributes, type ReactNode, type Ref, useId } from 'react'
import { cx } from './cx.ts'

type Input = Omit<InputHTMLAttributes<HTMLInputElement>, 'type' | 'disabled' | 'className'>

export interface CheckboxProps extends Input {
  readonly label: string
  readonly hideLabel?: boolean
  readonly hint?: ReactNode
  readonly disabledReason?: string | null | undefined
  /** Some, not all, of what it stands for is chosen. */
  readonly indeterminate?: boolean
  readonly ref?: Ref<HTMLInputElement>
}

/** Stops a change without taking the control out of the tab order. */
const hold = (reason: string | null | undefined) =>
  reason ? { onClick: (event: { preventDefault(): void }) => event.preventDefault() } : {}

export function Checkbox({ label, hideLabel, hint, disabledReason, indeterminate = false, ...rest }: CheckboxProps) {
  const id = useId()
  const note = disabledReason ?? hint
  return (
    <span className={cx('inline-flex gap-2', hideLabel ? 'relative items-center align-middle' : 'items-start')}>
      <input
        {...rest}
        {...hold(disabledReason)}
        id={id}
        type="checkbox"
        ref={(element) => {
          if (element) element.indeterminate = indeterminate
        }}
        aria-disabled={disabledReason ? true : undefined}
        aria-describedby={note ? `${id}-note` : undefined}
        className={cx('size-4 shrink-0 accent-accent-fill', !hideLabel && 'mt-0.5', disabledReason && 'opacity-70')}
      />
      <span className={hideLabel ? 'sr-only' : 'min-w-0'}>
        <label htmlFor={id} className={cx(disabledReason && 'opacity-70')}>
          {label}
        </label>
        {note && (
          <span id={`${id}-note`} className="block text-faint text-sm">
            {note}
          </span>
        )}
      </span>
    </span>
  )
}

export interface SwitchProps extends Omit<CheckboxProps, 'indeterminate'> {
  /** Its note on the same line, for bars of one line. */
  readonly inline?: boolean
}

/** On or off, taking effect at once (a checkbox waits for its form). */
export function Switch({ label, hideLabel, hint, disabledReason, inline = false, ...rest }: SwitchProps) {
  const id = useId()
  const note = disabledReason ?? hint
  return (
    <span className="inline-flex items-start gap-2">
      <span className={cx('relative mt-0.5 inline-flex h-4 w-7 shrink-0', disabledReason && 'opacity-70')}>
        <input
          {...rest}
          {...hold(disabledReason)}
          id={id}
          // A native checkbox tells its own checked state; the role only changes what it is called.
          {...{ role: 'switch' }}
          type="checkbox"
          aria-disabled={disabledReason ? true : undefined}
          aria-describedby={note ? `${id}-note` : undefined}
          className="peer absolute inset-0 m-0 h-full w-full cursor-[inherit] appearance-none rounded-full border border-edge bg-sunken checked:border-transparent checked:bg-accent-fill"
        />
        <span
          aria-hidden="true"
          className="pointer-events-none absolute start-0.5 top-0.5 size-3 rounded-full bg-edge transition-transform duration-100 peer-checked:translate-x-3 peer-checked:bg-on-accent"
        />
      </span>
      <span className={hideLabel ? 'sr-only' : 'min-w-0'}>
        <label htmlFor={id} className={cx(disabledReason && 'opacity-70')}>
          {label}
        </label>
        {note && (
          <span id={`${id}-note`} className={cx('text-faint text-sm', inline ? 'ms-2' : 'block')}>
            {note}
          </span>
        )}
      </span>
    </span>
  )
}

export interface RadioOption<V extends string> {
  readonly value: V
  readonly label: string
  readonly description?: ReactNode
  readonly disabledReason?: string | null | undefined
  readonly icon?: ReactNode
}

/** One of a few, each with room to explain itself. Arrow keys move as in any radio group. */
export function RadioCards<V extends string>({
  legend,
  hideLegend = false,
  name,
  value,
  onValue,
  options,
  columns = 'grid-cols-1 sm:grid-cols-2',
  error,
}: {
  readonly legend: string
  readonly hideLegend?: boolean
  readonly name: string
  readonly value: V | null
  readonly onValue: (value: V) => void
  readonly options: readonly RadioOption<V>[]
  /** Grid classes. */
  readonly columns?: string
  readonly error?: string | undefined
}) {
  const id = useId()
  return (
    <fieldset className="min-w-0" aria-describedby={error ? `${id}-error` : undefined}>
      <legend className={hideLegend ? 'sr-only' : 'mb-1 font-medium text-dim text-sm'}>{legend}</legend>
      <div className={cx('grid gap-2', columns)}>
        {options.map((option) => {
          const optionId = `${id}-${option.value}`
          const note = option.disabledReason ?? option.description
          return (
            <div
              key={option.value}
              className="relative flex gap-2.5 rounded-md border border-line bg-surface p-3 has-checked:border-accent has-checked:bg-selected has-focus-visible:outline-2 has-focus-visible:outline-focus has-[:not([aria-disabled])]:hover:border-edge"
            >
              <input
                type="radio"
                id={optionId}
                name={name}
                value={option.value}
                checked={value === option.value}
                aria-disabled={option.disabledReason ? true : undefined}
                aria-describedby={note ? `${optionId}-note` : undefined}
                onChange={() => option.disabledReason || onValue(option.value)}
                className="mt-0.5 size-4 shrink-0 accent-accent-fill outline-none!"
              />
              <span className={cx('min-w-0', option.disabledReason && 'text-faint')}>
                <label
                  htmlFor={optionId}
                  className="flex items-center gap-1.5 font-medium after:absolute after:inset-0"
                >
                  {option.icon}
                  {option.label}
                </label>
                {note && (
                  <span id={`${optionId}-note`} className="block text-dim text-sm">
                    {note}
                  </span>
                )}
              </span>
            </div>
          )
        })}
      </div>
      {error && (
        <p id={`${id}-error`} role="alert" className="mt-1 text-crashed text-sm">
          {error}
        </p>
      )}
    </fieldset>
  )
}
