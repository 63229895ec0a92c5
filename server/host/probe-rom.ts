/**
 * The assembled `probe.asm`: its code and its reset vector, without the zeros between them.
 * A test assembles the source again and compares.
 */
const PROBE_ROM_BYTES = 0x10000

/** isa-debug-exit turns the value the ROM writes into this exit status of QEMU. */
export const PROBE_EXIT = { good: 99, wrong: 67 } as const

const RESET_VECTOR = 0xfff0
const CODE =
  '+vwuZg8BFlABDyDADAEPIsBm6hkA//8IAGa4EACO2I7AjtC/AAABALkAGAAAMcDzq8cFAAABAAMQAQC4AyABAL8AEAEAuQQA' +
  'AACJBwUAEAAAg8cI4vS4gwAAAL8AIAEAuQAIAACJBwUAACAAg8cI4vQPIOANIAYAAA8i4LgAAAEADyLYuYAAAMAPMoDMAQ8w' +
  'DyDAg+D7DQIAAIAPIsDqpQD//xgA2+PZ6Nno3sHdHCUAgAAAm0i4AAAAAAAAAEBIOwQlAIAAAHVJDygFUAAAAA9ZwA8oyA/G' +
  'yU4PWMEPKMgPxsmxD1jB8w8swIP4HnUiuQASegBIMcBIAcj/yXX5SLoACd+UGh0AAEg50HUEsDHrArAh5vT06/2QkJCQkJCQ' +
  'AACAPwAAAEAAAEBAAACAQAAAAAAAAAAA//8AAACbzwD//wAAAJPPAP//AAAAm68AHwAwAf//AAAAAAAAAAAAAA=='
const RESET_CODE = '6Q0='

/** The whole ROM, as `-bios` wants it. */
export function buildProbeRom(): Buffer {
  const rom = Buffer.alloc(PROBE_ROM_BYTES)
  rom.write(CODE, 0, 'base64')
  rom.write(RESET_CODE, RESET_VECTOR, 'base64')
  return rom
}
