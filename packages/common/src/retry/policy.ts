import type { Random } from "../clock/index.ts";
import { Fault } from "../fault/index.ts";

/** How often something is tried, and how long to wait in between (GH-6). */
export interface RetryPolicy {
  /** Tries in all, the first one included; at least 1. */
  readonly attempts: number;
  /** The longest wait before the second try; it doubles with every further one. */
  readonly firstDelayMs: number;
  /** No wait is longer than this. */
  readonly maxDelayMs: number;
}

/** Protocol, section 11. */
export const DEFAULT_RETRY_POLICY: RetryPolicy = { attempts: 3, firstDelayMs: 1_000, maxDelayMs: 30_000 };

const MOST_ATTEMPTS = 1_000;

/** The policy itself, if it makes sense. Throws Fault INVALID_ARGUMENT that names the number that does not. */
export function checkRetryPolicy(policy: RetryPolicy): RetryPolicy {
  const { attempts, firstDelayMs, maxDelayMs } = policy;
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > MOST_ATTEMPTS) {
    throw refused("attempts", `${attempts} is not a number of tries: give 1 to ${MOST_ATTEMPTS}`);
  }
  if (!Number.isFinite(firstDelayMs) || firstDelayMs < 0) {
    throw refused("firstDelayMs", `${firstDelayMs} is not a delay: give 0 or more milliseconds`);
  }
  if (!Number.isFinite(maxDelayMs) || maxDelayMs < firstDelayMs) {
    throw refused("maxDelayMs", `${maxDelayMs} is below the first delay of ${firstDelayMs}: give at least that`);
  }
  return policy;
}

/** Full-jitter delays, one per retry; pure, so a test can list them. */
export function* delaysMs(policy: RetryPolicy, random: Random): Generator<number> {
  for (let retry = 0; retry < policy.attempts - 1; retry++) {
    yield random() * Math.min(policy.maxDelayMs, policy.firstDelayMs * 2 ** retry);
  }
}

function refused(field: string, reason: string): Fault {
  return new Fault({ code: "INVALID_ARGUMENT", field, reason });
}
