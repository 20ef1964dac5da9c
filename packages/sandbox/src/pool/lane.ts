// One place in the pool: a queue of jobs and the worker that does them, one at a time. Workers come and go, the lane stays, and so do
// the agents that were placed in it.
//
// L-1  At most one job is in the worker. What happens to the worker meanwhile is that job's doing and nobody else's.
// L-2  A job that waits does not age: only what its agent really runs counts, by the worker's own pulse.
// L-3  A lost worker is replaced at once; the jobs that waited go on in the new one, in their order.
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
}

export interface ThreadListener {
  ready(): void;
  answered(answer: Answer): void;
  lost(loss: Loss): void;
}

/** A worker thread. It is lost once, and not heard of after that. */
export interface LaneThread {
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
  #running: { readonly job: Job; idleSinceMs: number } | undefined;
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

  /** Takes a job back that waits; false if its turn has come already. */
  withdraw(job: Job): boolean {
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
    this.#running = undefined;
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
    if (this.#running !== undefined || thread === undefined || !thread.ready || thread.loss !== undefined) return;
    const [job] = this.#queue;
    if (job === undefined) return;

    this.#queue.delete(job);
    this.#running = { job, idleSinceMs: this.#parts.clock.monotonicMs() };
    thread.send(job.request(thread)); // L-1
    if (!this.#watching) void this.#watch();
  }

  #finish(outcome: Outcome): void {
    const running = this.#running;
    this.#running = undefined;
    running?.job.finish(outcome);
    this.#pump();
  }

  #replace(thread: LaneThread, loss: Loss): void {
    const { clock, threads } = this.#parts;
    const neverReady = !thread.ready;
    this.#thread = undefined;
    this.#parts.onWorkerLost({ ...loss, agentId: this.#running?.job.agentId });
    if (this.#stopping.signal.aborted) return;

    if (neverReady) {
      const delayMs = Math.min(replaceDelay.maxMs, replaceDelay.firstMs * 2 ** this.#failedStarts++); // L-4
      clock.sleep(delayMs, this.#stopping.signal).then(
        () => this.warm(),
        () => undefined, // stopped meanwhile
      );
      return;
    }
    this.#useThread(threads.take()); // L-3
    this.#finish({ kind: "lost", loss });
  }

  /** Runs while there is a job, waking often enough for the shortest limit. */
  async #watch(): Promise<void> {
    this.#watching = true;
    const { clock } = this.#parts;
    const periodMs = Math.min(this.#limits.tickTimeoutMs, this.#limits.callTimeoutMs);
    let waitMs = periodMs;
    try {
      while (this.#running !== undefined) {
        const beganMs = clock.monotonicMs();
        await clock.sleep(waitMs, this.#stopping.signal);
        const nowMs = clock.monotonicMs();
        // A process that stood still must not end a worker that stood still with it.
        if (nowMs - beganMs - waitMs > oversleptMs) {
          this.#standAgain(nowMs);
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

  #standAgain(nowMs: number): void {
    if (this.#running !== undefined) this.#running.idleSinceMs = nowMs;
  }

  /** Ends the worker if its call has had its time; otherwise says when to look again. */
  #inspect(nowMs: number): number | undefined {
    const thread = this.#thread;
    const running = this.#running;
    if (thread === undefined || running === undefined) return undefined;

    const verdict = judge(thread.beat(), monotonicNs(), this.#limits); // L-2
    if (verdict.kind === "running") {
      running.idleSinceMs = nowMs;
      return verdict.leftMs;
    }
    if (verdict.kind === "overdue") {
      const limitMs = verdict.call === "tick" ? this.#limits.tickTimeoutMs : this.#limits.callTimeoutMs;
      const what = verdict.call === "tick" ? "agent_tick" : "a call into the agent";
      const message = `${what} ran for longer than ${limitMs} ms`;
      this.#parts.threads.retire(thread, { reason: "time-out", message });
    } else if (nowMs - running.idleSinceMs > stuckMs) {
      this.#parts.threads.retire(thread, { reason: "crash", message: "the worker answers no more" });
    }
    return undefined;
  }
}
