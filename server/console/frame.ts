/** Server-to-client WebSocket frames (RFC 6455 §5.2), written in place in front of a payload that is already there. */

/** Room that must be free in front of the payload: the longest header of an unmasked frame. */
export const FRAME_HEADER_MAX = 10

const FIN_BINARY = 0x82
export const FIN_TEXT = 0x81

/**
 * Writes the header of one unmasked frame, binary unless said otherwise, so that it ends where the payload begins.
 * @param bytes at least FRAME_HEADER_MAX bytes, then `payloadLength` bytes of payload (below 4 GiB)
 * @returns where in `bytes` the frame begins
 */
export function writeFrameHeader(bytes: Buffer, payloadLength: number, first = FIN_BINARY): number {
  if (payloadLength < 126) {
    bytes[8] = first
    bytes[9] = payloadLength
    return 8
  }
  if (payloadLength < 0x10000) {
    bytes[6] = first
    bytes[7] = 126
    bytes.writeUInt16BE(payloadLength, 8)
    return 6
  }
  bytes[0] = first
  bytes[1] = 127
  bytes.writeUInt32BE(0, 2)
  bytes.writeUInt32BE(payloadLength, 6)
  return 0
}
