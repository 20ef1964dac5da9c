// Whether a service can do its work, and what is missing if it cannot. Checks are asked, never awaited: a part knows
// how it is.

import type { Clock } from "@godwit/common/clock";
import type { Part } from "./lifecycle.ts";

export interface Missing {
  readonly part: string;
  /** What is wrong, for an operator. */
  readonly reason: string;
}

/** The reason why not, or undefined when all is well. */
export type ReadinessCheck = () => string | undefined;

const LOOK_EVERY_MS = 100;

export class Readiness {
  readonly #checks = new Map<string, ReadinessCheck>();

  add(part: string, check: ReadinessCheck): void {
    if (this.#checks.has(part)) throw new Error(`there is a readiness check of ${part} already`);
    this.#checks.set(part, check);
  }

  missing(): readonly Missing[] {
    const missing: Missing[] = [];
    for (const [part, check] of this.#checks) {
      const reason = check();
      if (reason !== undefined) missing.push({ part, reason });
    }
    return missing;
  }

  /** A part that tells of the present state, and then of every change, while it runs. */
  follow(clock: Clock, onChange: (missing: readonly Missing[]) => void): Part {
    const running = new AbortController();
    let told: string | undefined;
    let looking: Promise<void> | undefined;
    const look = () => {
      const missing = this.missing();
      const now = JSON.stringify(missing);
      if (now !== told) onChange(missing);
      told = now;
    };
    const keepLooking = async (signal: AbortSignal) => {
      while (!signal.aborted) {
        look();
        await clock.sleep(LOOK_EVERY_MS, signal).catch(() => {});
      }
    };
    return {
      name: "readiness",
      start: async () => {
        looking = keepLooking(running.signal);
      },
      stop: async () => {
        running.abort();
        await looking;
      },
    };
  }
}
