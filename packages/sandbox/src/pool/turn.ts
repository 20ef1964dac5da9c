// One job in a lane that its owner may give up at any time.

import type { WorkRequest } from "../messages.ts";
import type { Job, Lane, LaneThread, Outcome } from "./lane.ts";

export interface TurnJob {
  readonly agentId: string;
  /** Asked when the job's turn has come. */
  request(thread: LaneThread): WorkRequest;
  /** What a worker answers to a job that was given up is not looked at; `began`: it may have run all the same. */
  onGivenUp(began: boolean): void;
}

export interface Turn {
  /** Rejects with the reason if it is given up. */
  readonly outcome: Promise<Outcome>;
  giveUp(reason: unknown): void;
}

/** @throws the signal's reason if that has aborted already */
export function takeTurn(lane: Lane, wanted: TurnJob, signal: AbortSignal): Turn {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
  let over = false;
  const settle = (): void => {
    over = true;
    signal.removeEventListener("abort", onAbort);
  };
  const job: Job = {
    agentId: wanted.agentId,
    request: (thread) => wanted.request(thread),
    finish: (outcome) => {
      if (over) return;
      settle();
      resolve(outcome);
    },
  };
  const giveUp = (reason: unknown): void => {
    if (over) return;
    settle();
    wanted.onGivenUp(!lane.withdraw(job));
    reject(reason);
  };
  const onAbort = (): void => giveUp(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  lane.submit(job);
  return { outcome: promise, giveUp };
}
