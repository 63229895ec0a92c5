/** Times that have words of their own. Pure. */
export const PRESETS = { nightly: '0 2 * * *', hourly: '0 * * * *', weekly: '0 3 * * 0' } as const

export const presetOf = (cron: string) =>
  // Object.keys knows no literal types.
  (Object.keys(PRESETS) as (keyof typeof PRESETS)[]).find((key) => PRESETS[key] === cron)
