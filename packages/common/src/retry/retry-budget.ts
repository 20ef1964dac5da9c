// A bucket of tokens per target (GH-6): every retry takes a token, every success gives a tenth of one back. A target
// that fails whatever one does is soon only asked once per request, and load is never multiplied by more than 1.1.
//
// A full bucket is the same as none, so only targets that failed lately are remembered, and of those at most
// `maxTargets`: the one that was used longest ago goes first.

export interface RetryBudgetRules {
  readonly tokens: number;
  /** How many successes give one token back. */
  readonly successesPerToken: number;
  readonly maxTargets: number;
}

/** Protocol, section 11. */
const DEFAULT_RULES: RetryBudgetRules = { tokens: 10, successesPerToken: 10, maxTargets: 1_024 };

export class RetryBudget {
  readonly #rules: RetryBudgetRules;
  /** Parts of tokens that were taken, by target, least recently used first; whole numbers, so that nothing drifts. */
  readonly #taken = new Map<string, number>();

  constructor(rules: RetryBudgetRules = DEFAULT_RULES) {
    this.#rules = rules;
  }

  /** True if a retry is within the budget; it is then paid for. */
  tryRetry(target: string): boolean {
    const { tokens, successesPerToken } = this.#rules;
    const after = (this.#taken.get(target) ?? 0) + successesPerToken;
    const granted = after <= tokens * successesPerToken;
    this.#set(target, granted ? after : after - successesPerToken);
    return granted;
  }

  succeeded(target: string): void {
    const taken = this.#taken.get(target);
    if (taken !== undefined) this.#set(target, taken - 1);
  }

  /** How many targets have less than a full bucket. */
  get size(): number {
    return this.#taken.size;
  }

  #set(target: string, taken: number): void {
    this.#taken.delete(target);
    if (taken <= 0) return;
    this.#taken.set(target, taken);
    if (this.#taken.size <= this.#rules.maxTargets) return;
    for (const oldest of this.#taken.keys()) {
      this.#taken.delete(oldest);
      return;
    }
  }
}
