import type { Random } from "@godwit/common/clock";

/**
 * Chance that can be had again: the same seed gives the same numbers, from 0 (included) to 1 (excluded), 53 bits each.
 * The generator is xoshiro128**; it is no source of secrets. Throws RangeError for a seed that is no safe integer of 0 or more.
 */
export function seededRandom(seed: number): Random {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`seed: ${seed} is no whole number of 0 or more`);
  const spread = spreader(seed);
  let a = spread();
  let b = spread();
  let c = spread();
  let d = spread();

  const next32 = (): number => {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return result;
  };
  return () => ((next32() >>> 5) * 2 ** 26 + (next32() >>> 6)) / 2 ** 53;
}

/** Turns neighbouring seeds into states that have nothing in common: a Weyl sequence through an avalanche. */
function spreader(seed: number): () => number {
  let state = (seed ^ Math.floor(seed / 2 ** 32)) | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
