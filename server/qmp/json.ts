/** JSON as QMP has it: 64-bit integers do not fit into a double. */
export type QmpJson = string | number | bigint | boolean | null | QmpJson[] | { [key: string]: QmpJson }

/** An integer QEMU sends: a number where a double holds it exactly, else a bigint. `Number(value)` rounds. */
export type QmpInt = number | bigint
