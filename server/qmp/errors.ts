/**
 * What can go wrong on a QMP connection. Domain code translates these to `EngineError`; they never reach HTTP.
 * Each is raised in exactly the situation its comment names.
 */

/** Base of the family, for `instanceof`. Never thrown itself. */
export abstract class QmpError extends Error {}

/** The socket could not be opened: missing, refused, no permission, or not listening before the deadline. `cause` has the system error. */
export class QmpConnectError extends QmpError {
  override readonly name = 'QmpConnectError'
}

/**
 * The socket opened, but no valid greeting came: silence until the deadline, end of stream, or something that is not QMP.
 * QEMU serves one client per monitor and leaves a second one waiting in silence, so this is also how "already taken" looks.
 */
export class QmpGreetingError extends QmpError {
  override readonly name = 'QmpGreetingError'
}

/** The greeting was fine, but `qmp_capabilities` was refused or the connection ended before its answer. */
export class QmpNegotiationError extends QmpError {
  override readonly name = 'QmpNegotiationError'
}

/** QEMU executed the command and answered with an error. The connection stays good. */
export class QmpCommandError extends QmpError {
  override readonly name = 'QmpCommandError'
  readonly command: string
  /** QEMU's error class: `GenericError`, `CommandNotFound`, `DeviceNotFound`, … (qapi/error.json). */
  readonly class: string
  /** QEMU's sentence, meant for people; not stable across versions. */
  readonly desc: string

  constructor(command: string, errorClass: string, desc: string) {
    super(`QEMU refused ${command}: ${desc}`)
    this.command = command
    this.class = errorClass
    this.desc = desc
  }
}

/** The connection ended while something waited on it, or before it was asked. `cause` is the first cause, if any. */
export class QmpDisconnectedError extends QmpError {
  override readonly name = 'QmpDisconnectedError'
}

/** A well-formed JSON message that is not QMP: no event, no routable reply, or members of the wrong type. Ends the connection. */
export class QmpBadReplyError extends QmpError {
  override readonly name = 'QmpBadReplyError'
}

/** The byte stream is broken: a line past the limit, or one that is not JSON. Ends the connection. */
export class QmpFramingError extends QmpError {
  override readonly name = 'QmpFramingError'
}

/** No reply within the command's time. The connection stays open; a reply that comes late is dropped. */
export class QmpTimeoutError extends QmpError {
  override readonly name = 'QmpTimeoutError'
  readonly command: string
  readonly timeoutMs: number

  constructor(what: string, timeoutMs: number) {
    super(`QEMU did not answer ${what} within ${timeoutMs} ms`)
    this.command = what
    this.timeoutMs = timeoutMs
  }
}

/** Called at the wrong moment: on a closed client or stream, or faster than QEMU or the consumer takes it. */
export class QmpStateError extends QmpError {
  override readonly name = 'QmpStateError'
}
