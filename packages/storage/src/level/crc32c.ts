/** CRC-32C (Castagnoli), by which LevelDB checks what it writes. */
const TABLE = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  TABLE[byte] = crc;
}

/** As LevelDB stores it: rotated and moved, because the checksum of bytes that hold checksums would be a weak one. */
export function maskedCrc32c(bytes: Uint8Array, from: number, end: number): number {
  let crc = -1;
  for (let at = from; at < end; at++) crc = (crc >>> 8) ^ (TABLE[(crc ^ (bytes[at] as number)) & 255] as number);
  return (((~crc >>> 15) | (~crc << 17)) + 0xa282ead8) >>> 0;
}
