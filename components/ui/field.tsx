import {
  type InputHTMLAttributes,
  type ReactNode,
  type Ref,
  type SelectHTMLAttributes,
  type TextareaHTMLAttributes,
  useId,
} from 'react'
import { cx } from './cx.ts'

export interface FieldChrome {
  readonly label: string
  /** Only for a label that the surroundings already show; it stays readable for assistive technology. */
  readonly hideLabel?: boolean
  /** What to enter, shown below while there is no error. */
  readonly hint?: ReactNode
  /** What is wrong with the value. */
  readonly error?: string | undefined
  /** Why the field cannot be changed. It stays focusable. */
  readonly disabledReason?: string | null | undefined
  readonly className?: string | undefined
}

const CONTROL =
  'touch w-full rounded-md border border-edge bg-surface px-2.5 text-base text-ink placeholder:text-faint aria-invalid:border-crashed aria-disabled:opacity-60 [&[readonly]]:bg-sunken'

/** Label above, hint or error below; hands the ids to the control. */
function Chrome({
  label,
  hideLabel,
  hint,
  error,
  disabledReason,
  className,
  children,
}: FieldChrome & { readonly children: (ids: { id: string; describedBy: string | undefined }) => ReactNode }) {
  const id = useId()
  const note = error ?? disabledReason ?? hint
  const noteId = `${id}-note`
  return (
    <div className={cx('flex min-w-0 flex-col gap-1', className)}>
      <label htmlFor={id} className={hideLabel ? 'sr-only' : 'font-medium text-dim text-sm'}>
        {label}
      </label>
      {children({ id, describedBy: note ? noteId : undefined })}
      {note && (
        <p
          id={noteId}
          role={error ? 'alert' : undefined}
          className={cx('text-sm', error ? 'text-crashed' : 'text-faint')}
        >
          {note}
        </p>
      )}
    </div>
  )
}

const shared = (props: FieldChrome) => ({
  'aria-invalid': props.error ? (true as const) : undefined,
  'aria-disabled': props.disabledReason ? (true as const) : undefined,
})

type Without<T> = Omit<T, 'disabled' | 'className'>

export interface TextFieldProps extends FieldChrome, Without<InputHTMLAttributes<HTMLInputElement>> {
  /** Identifiers, sizes, addresses: monospaced. */
  readonly mono?: boolean
  readonly ref?: Ref<HTMLInputElement>
}

export function TextField({ label, hideLabel, hint, error, disabledReason, className, mono, ...rest }: TextFieldProps) {
  const chrome = { label, hideLabel: hideLabel ?? false, hint, error, disabledReason, className }
  return (
    <Chrome {...chrome}>
      {({ id, describedBy }) => (
        <input
          type="text"
          autoComplete="off"
          {...rest}
          {...shared(chrome)}
          id={id}
          aria-describedby={describedBy}
          readOnly={disabledReason ? true : rest.readOnly}
          className={cx(CONTROL, 'h-8', mono && 'font-mono')}
        />
      )}
    </Chrome>
  )
}

export interface TextAreaProps extends FieldChrome, Without<TextareaHTMLAttributes<HTMLTextAreaElement>> {
  readonly mono?: boolean
  readonly ref?: Ref<HTMLTextAreaElement>
}

export function TextArea({ label, hideLabel, hint, error, disabledReason, className, mono, ...rest }: TextAreaProps) {
  const chrome = { label, hideLabel: hideLabel ?? false, hint, error, disabledReason, className }
  return (
    <Chrome {...chrome}>
      {({ id, describedBy }) => (
        <textarea
          rows={3}
          {...rest}
          {...shared(chrome)}
          id={id}
          aria-describedby={describedBy}
          readOnly={disabledReason ? true : rest.readOnly}
          className={cx(CONTROL, 'min-h-16 py-1.5', mono && 'font-mono')}
        />
      )}
    </Chrome>
  )
}

export interface NumberFieldProps extends Omit<TextFieldProps, 'value' | 'onChange' | 'type' | 'defaultValue'> {
  /** Null while empty. */
  readonly value: number | null
  readonly onValue: (value: number | null) => void
  /** Shown behind the number. */
  readonly unit?: string
}

/** Whole or decimal numbers; typing is never corrected, the caller judges the value. */
export function NumberField({
  value,
  onValue,
  unit,
  label,
  hideLabel,
  hint,
  error,
  disabledReason,
  className,
  ...rest
}: NumberFieldProps) {
  const chrome = { label, hideLabel: hideLabel ?? false, hint, error, disabledReason, className }
  return (
    <Chrome {...chrome}>
      {({ id, describedBy }) => (
        <span className="relative flex">
          <input
            inputMode="numeric"
            autoComplete="off"
            {...rest}
            {...shared(chrome)}
            type="number"
            id={id}
            aria-describedby={describedBy}
            readOnly={disabledReason ? true : rest.readOnly}
            value={value ?? ''}
            onChange={(event) => onValue(event.target.value === '' ? null : event.target.valueAsNumber)}
            className={cx(CONTROL, 'figures h-8', unit && 'pe-12')}
          />
          {unit && (
            <span
              aria-hidden="true"
              className="pointer-events-none absolute inset-y-0 end-2.5 flex items-center text-faint text-sm"
            >
              {unit}
            </span>
          )}
        </span>
      )}
    </Chrome>
  )
}

export interface SelectOption {
  readonly value: string
  readonly label: string
  readonly disabled?: boolean
}

export interface SelectProps extends FieldChrome, Without<SelectHTMLAttributes<HTMLSelectElement>> {
  readonly options: readonly SelectOption[]
  readonly ref?: Ref<HTMLSelectElement>
}

/** The platform's own list: known to every keyboard, screen reader and phone. */
export function Select({
  label,
  hideLabel,
  hint,
  error,
  disabledReason,
  className,
  options,
  onChange,
  ...rest
}: SelectProps) {
  const chrome = { label, hideLabel: hideLabel ?? false, hint, error, disabledReason, className }
  return (
    <Chrome {...chrome}>
      {({ id, describedBy }) => (
        <select
          {...rest}
          {...shared(chrome)}
          id={id}
          aria-describedby={describedBy}
          // A select knows no read-only: refuse to open instead, so that it stays focusable.
          onMouseDown={disabledReason ? (event) => event.preventDefault() : undefined}
          onKeyDown={disabledReason ? (event) => event.key !== 'Tab' && event.preventDefault() : undefined}
          onChange={disabledReason ? undefined : onChange}
          className={cx(CONTROL, 'h-8 pe-8')}
        >
          {options.map((option) => (
            <option key={option.value} value={option.value} disabled={option.disabled}>
              {option.label}
            </option>
          ))}
        </select>
      )}
    </Chrome>
  )
}
