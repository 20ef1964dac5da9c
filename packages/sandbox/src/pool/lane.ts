// One place in the pool: a queue of jobs and the worker that does them, one after the other. Workers come and go, the lane stays, and so
// do the agents that were placed in it.
//
// L-1  What happens to a worker is the doing of the job that it had begun last, and nobody else's. It is sent some more ahead, so that
//      ticks of many agents share a message; those are answered in their order.
// L-2  A job that waits does not age: only what its agent really runs counts, by the worker's own pulse.
// L-3  A lost worker is replaced at once. The jobs that waited, and those that were sent and not answered, go on in the new one, in
//      their order: what was not answered has not happened, even if it ran.
// L-4  Workers that are lost before they can do anything are replaced ever more slowly.

import type { Clock } from "@godwit/common/clock";
import type { Answer, Request, WorkRequest } from "../messages.ts";
import { type Beat, type CallLimits, judge, monotonicNs } from "../pulse.ts";

/** Why a worker is gone. `ended` is the host's own doing. */
export interface LossCause {
  readonly reason: "time-out" | "memory" | "crash" | "ended";
  readonly message: string;
}

export interface Loss extends LossCause {
  /** How long the call into an agent that it was lost with had been running; 0 if there was none. */
  readonly ranNs: bigint;
  /** Ticks of the replay that it was lost with, if it was one, that had gone well. */
  readonly replayed: number;
  /** Which of the requests that are not answered it had begun last: 0 is the oldest. */
  readonly at: number;
}

export interface ThreadListener {
  ready(): void;
  answered(answer: Answer): void;
  lost(loss: Loss): void;
}

/** A worker thread. It is lost once, and not heard of after that. */
export interface LaneThread {
  /** Requests that it takes before it has answered the first of them; at least 1. */
  readonly capacity: number;
  readonly ready: boolean;
  readonly loss: Loss | undefined;
  /** Tells this listener, and no other, what happens from now on, and at once what has happened already. */
  listen(listener: ThreadListener): void;
  send(request: Request): void;
  beat(): Beat;
}

export interface ThreadSource {
  take(): LaneThread;
  /** Ends a thread. Its listener hears of the loss before this returns. */
  retire(thread: LaneThread, cause: LossCause): void;
}

export type Outcome =
  | { readonly kind: "answered"; readonly answer: Answer }
  | { readonly kind: "lost"; readonly loss: Loss };

export interface Job {
  readonly agentId: string;
  /** Asked when the job's turn has come, since only then it is known which worker does it. */
  request(thread: LaneThread): WorkRequest;
  finish(outcome: Outcome): void;
}

export interface WorkerLost extends Loss {
  /** The agent whose call ended it; undefined when none was running. */
  readonly agentId: string | undefined;
}

export interface LaneParts {
  readonly clock: Clock;
  readonly threads: ThreadSource;
  onWorkerLost(lost: WorkerLost): void;
}

interface Flight {
  readonly job: Job;
  readonly stateBytes: number;
  /** False once its agent has given it up. */
  wanted: boolean;
}

/** States that are under way to a worker; beyond this it is sent nothing ahead. */
const maxSentBytes = 4 << 20;
/** More than this beyond the wait that was asked for, and the process itself stood still. */
const oversleptMs = 250;
/** A worker that has a job and calls no agent for this long is broken. */
const stuckMs = 30_000;
const replaceDelay = { firstMs: 100, maxMs: 5_000 };

export class Lane {
  readonly #parts: LaneParts;
  readonly #limits: CallLimits;
  readonly #queue = new Set<Job>();
  readonly #stopping = new AbortController();
  #thread: LaneThread | undefined;
  /** In the worker, in their order. */
  readonly #flights: Flight[] = [];
  #sentBytes = 0;
  /** Since when the worker is not known to call an agent, while it has something to do. */
  #idleSinceMs = 0;
  #watching = false;
  #failedStarts = 0;
  /** Agents placed here. */
  agents = 0;

  constructor(parts: LaneParts, limits: CallLimits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  /** Starts the worker now rather than with the first job. */
  warm(): void {
    if (this.#thread === undefined) this.#useThread(this.#parts.threads.take());
  }

  submit(job: Job): void {
    this.#queue.add(job);
    this.warm();
    this.#pump();
  }

  /** Takes a job back that waits; false if its turn has come already: then it may have run, but is not run again. */
  withdraw(job: Job): boolean {
    const flight = this.#flights.find((sent) => sent.job === job);
    if (flight !== undefined) flight.wanted = false;
    return this.#queue.delete(job);
  }

  drop(agent: number, thread: LaneThread): void {
    if (thread === this.#thread && thread.loss === undefined) thread.send({ kind: "drop", agent });
  }

  /** Ends the worker. Every job must have been taken back or given up by its agent. */
  stop(): void {
    this.#stopping.abort(new Error("the sandbox is stopped"));
    const thread = this.#thread;
    this.#thread = undefined;
    this.#flights.length = 0;
    this.#sentBytes = 0;
    this.#queue.clear();
    if (thread !== undefined) {
      this.#parts.threads.retire(thread, { reason: "ended", message: "the sandbox is stopped" });
    }
  }

  #useThread(thread: LaneThread): void {
    this.#thread = thread;
    thread.listen({
      ready: () => {
        this.#failedStarts = 0;
        this.#pump();
      },
      answered: (answer) => this.#finish({ kind: "answered", answer }),
      lost: (loss) => {
        if (thread === this.#thread) this.#replace(thread, loss);
      },
    });
  }

  #pump(): void {
    const thread = this.#thread;
    if (thread === undefined || !thread.ready || thread.loss !== undefined) return;
    for (const job of this.#queue) {
      if (this.#flights.length >= thread.capacity || this.#sentBytes > maxSentBytes) break;
      this.#queue.delete(job);
      if (this.#flights.length === 0) this.#idleSinceMs = this.#parts.clock.monotonicMs();
      const request = job.request(thread);
      const stateBytes = request.load?.state?.length ?? 0;
      this.#flights.push({ job, stateBytes, wanted: true });
      this.#sentBytes += stateBytes;
      thread.send(request);
    }
    if (!this.#watching && this.#flights.length > 0) void this.#watch();
  }

  #finish(outcome: Outcome): void {
    const flight = this.#flights.shift();
    this.#sentBytes -= flight?.stateBytes ?? 0;
    this.#idleSinceMs = this.#parts.clock.monotonicMs();
    flight?.job.finish(outcome);
    this.#pump();
  }

  #replace(thread: LaneThread, loss: Loss): void {
    const { clock, threads } = this.#parts;
    const neverReady = !thread.ready;
    this.#thread = undefined;
    const [culprit] = this.#flights.splice(loss.at, 1);
    const again = this.#flights.splice(0).filter(({ wanted }) => wanted);
    this.#sentBytes = 0;
    this.#parts.onWorkerLost({ ...loss, agentId: culprit?.job.agentId });
    if (this.#stopping.signal.aborted) return;

    if (neverReady) {
      const delayMs = Math.min(replaceDelay.maxMs, replaceDelay.firstMs * 2 ** this.#failedStarts++); // L-4
      clock.sleep(delayMs, this.#stopping.signal).then(
        () => this.warm(),
        () => undefined, // stopped meanwhile
      );
      return;
    }
    const waiting = [...again.map(({ job }) => job), ...this.#queue];
    this.#queue.clear();
    for (const job of waiting) this.#queue.add(job);
    this.#useThread(threads.take()); // L-3
    culprit?.job.finish({ kind: "lost", loss });
    this.#pump();
  }

  /** Runs while there is a job, waking often enough for the shortest limit. */
  async #watch(): Promise<void> {
    this.#watching = true;
    const { clock } = this.#parts;
    const periodMs = Math.min(this.#limits.tickTimeoutMs, this.#limits.callTimeoutMs);
    let waitMs = periodMs;
    try {
      while (this.#flights.length > 0) {
        const beganMs = clock.monotonicMs();
        await clock.sleep(waitMs, this.#stopping.signal);
        const nowMs = clock.monotonicMs();
        // A process that stood still must not end a worker that stood still with it.
        if (nowMs - beganMs - waitMs > oversleptMs) {
          this.#idleSinceMs = nowMs;
          waitMs = periodMs;
        } else {
          waitMs = Math.min(periodMs, this.#inspect(nowMs) ?? periodMs);
        }
      }
    } catch (error) {
      if (!this.#stopping.signal.aborted) throw error;
    } finally {
      this.#watching = false;
    }
  }

  /** Ends the worker if its call has had its time; otherwise says when to look again. */
  #inspect(nowMs: number): number | undefined {
    const thread = this.#thread;
    if (thread === undefined || this.#flights.length === 0) return undefined;

    const verdict = judge(thread.beat(), monotonicNs(), this.#limits); // L-2
    if (verdict.kind === "running") {
      this.#idleSinceMs = nowMs;
      return verdict.leftMs;
    }
    if (verdict.kind === "overdue") {
      const limitMs = verdict.call === "tick" ? this.#limits.tickTimeoutMs : this.#limits.callTimeoutMs;
      const what = verdict.call === "tick" ? "agent_tick" : "a call into the agent";
      const message = `${what} ran for longer than ${limitMs} ms`;
      this.#parts.threads.retire(thread, { reason: "time-out", message });
    } else if (nowMs - this.#idleSinceMs > stuckMs) {
      this.#parts.threads.retire(thread, { reason: "crash", message: "the worker answers no more" });
    }
    return undefined;
  }
}
