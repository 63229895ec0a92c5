/**
 * Who we are. A dashboard that root has started gives up root early (`server/launcher`), so the two questions have two
 * answers: as whom this process was started, and as whom it runs.
 */

/** Decided when the process starts: it has root's powers at hand, itself or by its launcher. */
export const startedAsRoot = process.getuid?.() === 0

/** Of this process now; 0 where there are no users. */
export const ownUid = (): number => process.getuid?.() ?? 0
