import { randomFillSync } from "node:crypto";

/** What running agents takes from the machine. */
export interface Machine {
  /** Monotonic. */
  nowNs(): bigint;
  /** With bytes that nobody can guess. */
  fillRandom(target: Uint8Array): void;
}

export const thisMachine: Machine = {
  nowNs: () => process.hrtime.bigint(),
  fillRandom: (target) => void randomFillSync(target),
};
