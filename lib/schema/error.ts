/** The closed set of errors the API answers with; `server/http/plugins/errors.ts` alone maps code to status. */
import * as z from 'zod'

/** Status per code. Keep `openapi.json` and docs in step: both are generated from this table. */
export const ERROR_STATUS = {
  bad_input: 400,
  unknown_field: 400,
  bad_setup_code: 400,
  unauthenticated: 401,
  bad_credentials: 401,
  forbidden: 403,
  second_factor_needed: 403,
  confirm_needed: 403,
  admin_only: 403,
  bad_origin: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  stale_revision: 409,
  wrong_state: 409,
  in_use: 409,
  name_taken: 409,
  already_set_up: 409,
  image_missing: 409,
  image_in_use: 409,
  port_in_use: 409,
  vm_busy: 409,
  quota_exceeded: 409,
  volume_missing: 409,
  blocked_address: 403,
  last_admin: 409,
  sign_in_failed: 422,
  accelerator_unusable: 409,
  tus_version: 412,
  too_large: 413,
  unsupported_media_type: 415,
  bad_range: 416,
  misdirected: 421,
  image_refused: 422,
  image_has_backing: 422,
  unsupported_format: 422,
  /** A disk or what is on it cannot be read: damaged, made to harm, or of a kind that is not known. */
  unreadable: 422,
  dtd_forbidden: 422,
  import_refused: 422,
  checksum_mismatch: 422,
  rate_limited: 429,
  headers_too_large: 431,
  /** A piece of an upload does not have the checksum sent with it; the number is that of the tus protocol. */
  chunk_mismatch: 460,
  internal: 500,
  launch_failed: 500,
  /** Another server did not do its part in a download. */
  source_failed: 502,
  busy: 503,
  unresponsive: 503,
  pool_unavailable: 503,
  no_space: 507,
  no_memory: 507,
  no_cpus: 507,
} as const
export type ErrorCode = keyof typeof ERROR_STATUS

export const ApiErrorBody = z
  .strictObject({
    error: z.strictObject({
      code: z.enum(Object.keys(ERROR_STATUS) as [ErrorCode, ...ErrorCode[]]),
      message: z.string(),
      /** Dotted path of the offending input, for example `disks.0.image`. */
      field: z.string().optional(),
      details: z.json().optional(),
      requestId: z.string(),
    }),
  })
  .meta({ id: 'ApiError' })
export type ApiErrorBody = z.output<typeof ApiErrorBody>
