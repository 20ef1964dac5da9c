// Time and chance of a simulation that can be had again.

import { createHash } from "node:crypto";
import { type Clock, systemClock } from "@godwit/common/clock";

/** Where the clock stands at the first tick. */
export const seededStart = new Date(Date.UTC(2025, 0, 1));
/** What each tick is charged for: how long it really took is another time each time. */
export const seededTickNs = 1_000_000n;
const tickEveryMs = 1_000;

/** Only the wall clock is made up. Time limits are real ones: a seed does not make an agent end that does not. */
export class SeededClock implements Clock {
  #nowMs = seededStart.getTime();

  now(): Date {
    return new Date(this.#nowMs);
  }

  monotonicMs(): number {
    return systemClock.monotonicMs();
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return systemClock.sleep(ms, signal);
  }

  nextTick(): void {
    this.#nowMs += tickEveryMs;
  }
}

export function seedBytes(seed: number): Uint8Array {
  return new Uint8Array(createHash("sha256").update(`godwit simulate ${seed}`).digest());
}
