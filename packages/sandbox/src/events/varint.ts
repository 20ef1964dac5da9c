/** Room for any number of `putVarint`. */
export const maxVarintBytes = 10;

/** Writes a number of at most 32 bits, seven bits a byte, and answers where it ends. */
export function putVarint(target: Uint8Array, at: number, value: number): number {
  let left = value >>> 0;
  let to = at;
  while (left > 0x7f) {
    target[to++] = (left & 0x7f) | 0x80;
    left >>>= 7;
  }
  target[to++] = left;
  return to;
}

/** As `putVarint`, of at most 64 bits. */
export function putVarint64(target: Uint8Array, at: number, value: bigint): number {
  let left = BigInt.asUintN(64, value);
  let to = at;
  while (left > 0x7fn) {
    target[to++] = Number(left & 0x7fn) | 0x80;
    left >>= 7n;
  }
  target[to++] = Number(left);
  return to;
}
