/** What an operator can mend before the dashboard starts: one sentence, shown alone. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
