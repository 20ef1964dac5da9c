// A machine whose time and chance are made up from a seed: the same calls in the same order get the same answers.

import { createCipheriv } from "node:crypto";
import type { Machine } from "./machine.ts";

/** A reading is this much later than the one before, so that an agent that waits for time to pass sees it pass. */
const readingNs = 1_000n;

/** `seed`: 32 bytes. */
export function seededMachine(seed: Uint8Array): Machine {
  const stream = createCipheriv("aes-256-ctr", seed, new Uint8Array(16));
  let nowNs = 0n;
  return {
    nowNs() {
      nowNs += readingNs;
      return nowNs;
    },
    fillRandom: (target) => target.set(stream.update(new Uint8Array(target.length))),
  };
}
