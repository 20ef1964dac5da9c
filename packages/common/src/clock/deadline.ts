import { Fault } from "../fault/index.ts";
import type { Clock } from "./clock.ts";

/** What must be done within `ms` from now. `what` is for the error: "the answer of the registry". */
export interface Deadline {
  readonly what: string;
  readonly ms: number;
  /** The caller's own signal; its abort ends the work with its reason. */
  readonly signal: AbortSignal;
}

/** A signal that must be disposed of when the work is over (`using`), so that nothing keeps waiting for its deadline. */
export interface DeadlineSignal extends Disposable {
  readonly signal: AbortSignal;
}

/** An abort that nobody hears of needs no reason, and one that is not given is made, with a stack. */
const over = new Error("over");

/** Aborts with the caller's reason, or with Fault DEADLINE_EXCEEDED when the time has passed. */
export function deadlineSignal(clock: Clock, { what, ms, signal }: Deadline): DeadlineSignal {
  const outcome = new AbortController();
  const timer = new AbortController();
  const onAbort = () => outcome.abort(signal.reason);
  const dispose = () => {
    signal.removeEventListener("abort", onAbort);
    timer.abort(over);
  };

  if (signal.aborted) {
    onAbort();
  } else {
    signal.addEventListener("abort", onAbort, { once: true });
    outcome.signal.addEventListener("abort", dispose, { once: true });
    clock.sleep(ms, timer.signal).then(
      () => outcome.abort(new Fault({ code: "DEADLINE_EXCEEDED", what, afterMs: ms })),
      () => {}, // disposed of: there is no deadline any more
    );
  }
  return { signal: outcome.signal, [Symbol.dispose]: dispose };
}

/**
 * Runs `work` with a signal that aborts at the deadline, and settles at the deadline even if the work does not listen:
 * what such work still does is then lost to the caller, so work with effects has to listen.
 */
export async function withDeadline<T>(
  clock: Clock,
  deadline: Deadline,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using limited = deadlineSignal(clock, deadline);
  return await untilAborted(limited.signal, () => work(limited.signal));
}

/** Settles like `work`, or rejects with the signal's reason as soon as that aborts. Not started if it is aborted already. */
export function untilAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const settled = () => signal.removeEventListener("abort", onAbort);
    // `async` turns a synchronous throw of the work into a rejection.
    (async () => work())().finally(settled).then(resolve, reject);
  });
}
