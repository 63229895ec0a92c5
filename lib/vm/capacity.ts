/** Shares of a capacity bar. Pure. */
export interface Shares {
  /** 0 to 1. */
  readonly used: number
  /** What is promised beyond what is used, cut off at the end of the bar; 0 to 1. */
  readonly promised: number
  /** More than nine tenths used. */
  readonly full: boolean
}

const NEARLY_FULL = 0.9

/**
 * What guests were promised and what is used overlap: a guest's memory is part of both once it is touched. The bar
 * shows the larger, with the used part solid.
 */
export function capacityShares(used: number, promised: number, total: number): Shares {
  if (!(total > 0)) return { used: 0, promised: 0, full: false }
  const usedShare = Math.min(1, Math.max(0, used / total))
  const promisedShare = Math.min(1, Math.max(0, promised / total))
  return { used: usedShare, promised: Math.max(0, promisedShare - usedShare), full: usedShare > NEARLY_FULL }
}
