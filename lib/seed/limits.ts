/** Limits of seeds that the browser knows too, without the schemas. */

/** Bytes of one text. cloud-init itself takes more, a first start needs far less. */
export const SEED_TEXT_MAX = 65_536
