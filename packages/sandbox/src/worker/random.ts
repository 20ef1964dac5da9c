// Random bytes for agents, drawn so that they can be repeated from few bytes: more than 32 of them are the key stream of AES-256 in
// counter mode under a key that was drawn, from a counter of zero on. A tick's log holds the key.

import { createCipheriv } from "node:crypto";
import { maxVerbatimBytes } from "../events/event.ts";
import type { Machine } from "./machine.ts";

const cipherName = "aes-256-ctr";
const counterFromZero = new Uint8Array(16);
const zeros = new Uint8Array(65_536);

/** Fills the target; answers what it takes to repeat that, or undefined if the machine had none to give. */
export function drawRandom(machine: Machine, target: Uint8Array): Uint8Array | undefined {
  const drawn = target.length > maxVerbatimBytes ? new Uint8Array(maxVerbatimBytes) : target;
  try {
    machine.fillRandom(drawn);
  } catch {
    return undefined;
  }
  if (drawn !== target) expand(drawn, target);
  return drawn;
}

/** False if these bytes cannot be what was drawn for so long a target. */
export function repeatRandom(drawn: Uint8Array, target: Uint8Array): boolean {
  if (drawn.length !== Math.min(target.length, maxVerbatimBytes)) return false;
  if (target.length > maxVerbatimBytes) expand(drawn, target);
  else target.set(drawn);
  return true;
}

/** Piece by piece, since there may be 64 MiB to fill and the cipher answers with new buffers. */
function expand(key: Uint8Array, target: Uint8Array): void {
  const cipher = createCipheriv(cipherName, key, counterFromZero);
  for (let at = 0; at < target.length; at += zeros.length) {
    const piece = Math.min(zeros.length, target.length - at);
    target.set(cipher.update(zeros.subarray(0, piece)), at);
  }
}
