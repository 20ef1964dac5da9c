import type { Entropy, Random } from "@godwit/common/clock";
import { seededRandom } from "@godwit/testing";

/** Seeded chance with the questions that a simulation asks. Parts draw from their own, so that one more draw in one moves no other. */
export class Chance {
  readonly random: Random;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
    this.random = seededRandom(seed);
  }

  /** Another one, which depends on this one's seed and the name only. */
  fork(name: string): Chance {
    let hash = (this.#seed ^ Math.floor(this.#seed / 2 ** 32)) >>> 0;
    for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
    return new Chance((hash * 2 ** 20 + (this.#seed % 2 ** 20)) % Number.MAX_SAFE_INTEGER);
  }

  /** From `least` (included) to `most` (included), whole. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.random() * (most - least + 1));
  }

  between(least: number, most: number): number {
    return least + this.random() * (most - least);
  }

  happens(probability: number): boolean {
    return probability > 0 && this.random() < probability;
  }

  /** Throws RangeError for an empty list. */
  pick<T>(of: readonly T[]): T {
    const picked = of[Math.floor(this.random() * of.length)];
    if (picked === undefined && of.length === 0) throw new RangeError("nothing to pick from");
    return picked as T;
  }

  entropy(): Entropy {
    const bytes = (count: number) => Uint8Array.from({ length: count }, () => this.whole(0, 255));
    return {
      bytes,
      uuid: () => {
        const value = bytes(16);
        value[6] = ((value[6] ?? 0) & 0x0f) | 0x40;
        value[8] = ((value[8] ?? 0) & 0x3f) | 0x80;
        const hex = Buffer.from(value).toString("hex");
        return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
      },
    };
  }
}
