// Try again, within bounds (GH-6, GH-8): so many attempts, so much time, so many retries per target. An abort ends it
// at once, in an attempt or between two; nothing is left running or waiting behind it.
//
// An attempt must end when its signal aborts. It is waited for even then, since only the attempt knows whether it was
// cut off before or after the point of no return: a class that it gives its error counts more than the abort (FS-2).

import { type Clock, deadlineSignal, type Random } from "../clock/index.ts";
import { Fault } from "../fault/index.ts";
import { ClassifiedFault, failureOf } from "./failure.ts";
import { delaysMs, type RetryPolicy } from "./policy.ts";
import type { RetryBudget } from "./retry-budget.ts";

export interface RetryRules {
  /** For errors: what is being tried. */
  readonly what: string;
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  /** For all attempts and waits together. */
  readonly deadlineMs: number;
  readonly budget?: { readonly of: RetryBudget; readonly target: string };
  /** Which errors are worth another try; by default those that were born "retriable". */
  readonly retriable?: (error: unknown) => boolean;
  /** Told before each wait. */
  readonly onRetry?: (retry: Retry) => void;
}

export interface Retry {
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  readonly error: unknown;
  readonly delayMs: number;
}

/**
 * The first success of `attempt`, or else: its last error; RETRY_BUDGET_EXHAUSTED of the same class (the last error is
 * the cause); DEADLINE_EXCEEDED, as soon as another try could not begin in time; the reason of the signal.
 */
export async function retry<T>(
  attempt: (signal: AbortSignal, number: number) => Promise<T>,
  { what, policy, clock, random, signal, deadlineMs, budget, onRetry, retriable = bornRetriable }: RetryRules,
): Promise<T> {
  const startedMs = clock.monotonicMs();
  using limited = deadlineSignal(clock, { what, ms: deadlineMs, signal });
  const delays = delaysMs(policy, random);

  for (let number = 1; ; number++) {
    let error: unknown;
    try {
      limited.signal.throwIfAborted();
      const result = await attempt(limited.signal, number);
      budget?.of.succeeded(budget.target);
      return result;
    } catch (thrown) {
      error = thrown;
    }

    const worthIt = retriable(error);
    if (!worthIt && failureOf(error) !== undefined) throw error;
    limited.signal.throwIfAborted();
    const delay = delays.next();
    if (!worthIt || delay.done) throw error;
    const delayMs = delay.value;
    if (clock.monotonicMs() + delayMs - startedMs >= deadlineMs) {
      throw new Fault({ code: "DEADLINE_EXCEEDED", what, afterMs: deadlineMs }, { cause: error });
    }
    if (budget !== undefined && !budget.of.tryRetry(budget.target)) throw budgetExhausted(budget.target, error);
    onRetry?.({ attempt: number, error, delayMs });
    await clock.sleep(delayMs, limited.signal);
  }
}

function bornRetriable(error: unknown): boolean {
  return failureOf(error)?.class === "retriable";
}

function budgetExhausted(target: string, cause: unknown): Fault {
  const detail = { code: "RETRY_BUDGET_EXHAUSTED", target } as const;
  const failure = failureOf(cause);
  return failure === undefined ? new Fault(detail, { cause }) : new ClassifiedFault(failure.class, detail, { cause });
}
