// For how long nothing is sent to whom, after it went wrong: min(longest, first * 2^n), jittered (GH-6).

import type { Clock, Random } from "@godwit/common/clock";

export interface AvoidanceRules {
  readonly firstMs: number;
  readonly longestMs: number;
}

interface Trouble {
  readonly failures: number;
  readonly sinceMs: number;
  readonly untilMs: number;
}

export class Avoidance {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #rules: AvoidanceRules;
  readonly #troubles = new Map<string, Trouble>();

  constructor({ clock, random }: { readonly clock: Clock; readonly random: Random }, rules: AvoidanceRules) {
    this.#clock = clock;
    this.#random = random;
    this.#rules = rules;
  }

  /** `triedAtMs`: when what failed was begun. Tries that failed side by side count as one. */
  failed(key: string, triedAtMs: number): void {
    const before = this.#troubles.get(key);
    if (before !== undefined && triedAtMs < before.sinceMs) return;
    const nowMs = this.#clock.monotonicMs();
    const { firstMs, longestMs } = this.#rules;
    const failures = (before?.failures ?? 0) + 1;
    const delayMs = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
    // At least half of it: whoever is avoided was chosen by many, and a pause of nothing would send them all back at once.
    const untilMs = nowMs + delayMs * (0.5 + this.#random() / 2);
    this.#troubles.set(key, { failures, sinceMs: nowMs, untilMs });
  }

  succeeded(key: string): void {
    this.#troubles.delete(key);
  }

  isAvoided(key: string): boolean {
    const trouble = this.#troubles.get(key);
    return trouble !== undefined && this.#clock.monotonicMs() < trouble.untilMs;
  }

  /** Failures in a row. */
  failures(key: string): number {
    return this.#troubles.get(key)?.failures ?? 0;
  }

  /** Forgets what is long over. */
  prune(): void {
    const overMs = this.#clock.monotonicMs() - 2 * this.#rules.longestMs;
    for (const [key, { untilMs }] of this.#troubles) if (untilMs < overMs) this.#troubles.delete(key);
  }
}
