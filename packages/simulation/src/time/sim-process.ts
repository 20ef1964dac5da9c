// A process of the simulated cluster: it can stop for a while, and it dies.
//
// 1. Nothing of a process happens but through `enter`: its timers, what the network brings it, its later turns.
// 2. What is for a process that is stopped waits in order; what is for a dead one never happens. Its code still hangs in
//    promises that nobody settles, and whatever it touches asks whether it is alive.
// 3. Each machine has a monotonic clock with a rate of its own, and wall time, which may be set to anything at any moment.

import type { Clock } from "@godwit/common/clock";
import type { Timeline } from "./timeline.ts";

/** Stands for a process that is no more, where its code has to be left at once. */
export class ProcessEnded extends Error {
  override readonly name = "ProcessEnded";
}

/** A machine's clocks outlive its processes. */
export class MachineClock {
  readonly #timeline: Timeline;
  readonly rate: number;
  #monotonicAheadMs: number;
  #wallAheadMs: number;

  constructor(
    timeline: Timeline,
    { rate, monotonicMs, wallMs }: { rate: number; monotonicMs: number; wallMs: number },
  ) {
    this.#timeline = timeline;
    this.rate = rate;
    this.#monotonicAheadMs = monotonicMs;
    this.#wallAheadMs = wallMs;
  }

  monotonicMs(): number {
    return this.#timeline.nowMs * this.rate + this.#monotonicAheadMs;
  }

  wallMs(): number {
    return this.#timeline.nowMs + this.#wallAheadMs;
  }

  /** In the timeline's own time. */
  untilMs(monotonicMs: number): number {
    return (monotonicMs - this.monotonicMs()) / this.rate;
  }

  jumpWall(ms: number): void {
    this.#wallAheadMs += ms;
  }

  /** The machine was suspended for so long: monotonic time stood still, wall time went on. */
  suspended(ms: number): void {
    this.#monotonicAheadMs -= ms * this.rate;
  }
}

/** Far below what anybody measures, far above what rounding loses. */
const shortestMs = 1e-6;

export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #timeline: Timeline;
  readonly #machine: MachineClock;
  readonly #onEnd = new Set<() => void>();
  #state: "running" | "stopped" | "dead" = "running";
  #backlog: (() => void)[] = [];

  constructor(name: string, timeline: Timeline, machine: MachineClock) {
    this.name = name;
    this.#timeline = timeline;
    this.#machine = machine;
    this.clock = {
      now: () => new Date(Math.floor(machine.wallMs())),
      monotonicMs: () => machine.monotonicMs(),
      sleep: (ms, signal) => this.#sleep(ms, signal),
    };
  }

  get alive(): boolean {
    return this.#state !== "dead";
  }

  get running(): boolean {
    return this.#state === "running";
  }

  /** Now, when it is its turn, or never. */
  enter(run: () => void): void {
    if (this.#state === "dead") return;
    if (this.#state === "stopped") {
      this.#backlog.push(run);
      return;
    }
    try {
      run();
    } catch (error) {
      if (!(error instanceof ProcessEnded)) throw error;
    }
  }

  /** In a later turn of its event loop. */
  readonly defer = (run: () => void): void => {
    this.#timeline.soon(() => this.enter(run));
  };

  /** SIGSTOP, or an event loop that stands still. */
  stop(): void {
    if (this.#state === "running") this.#state = "stopped";
  }

  /** SIGCONT: what has waited happens now, in order. */
  resume(): void {
    if (this.#state !== "stopped") return;
    this.#state = "running";
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const run of backlog) this.defer(run);
  }

  /** kill -9. */
  kill(): void {
    if (this.#state === "dead") return;
    this.#state = "dead";
    this.#backlog = [];
    for (const onEnd of this.#onEnd) onEnd();
  }

  /** For what the operating system does when a process dies: its connections break. Returns what is called once there is nothing to break. */
  onEnd(run: () => void): () => void {
    this.#onEnd.add(run);
    return () => this.#onEnd.delete(run);
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      if (this.#state === "dead") return; // never
      const machine = this.#machine;
      const dueMs = machine.monotonicMs() + Math.max(0, ms);
      const wake = () => {
        // Due in the timeline is not due for the machine when it was suspended meanwhile.
        const leftMs = machine.untilMs(dueMs);
        if (leftMs > 0) {
          // At least so much that the sum is another number: who looks again and sleeps for the rest would else do so for ever.
          timer = this.#timeline.after(Math.max(leftMs, shortestMs), ring);
          return;
        }
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const ring = () => this.enter(wake);
      let timer = this.#timeline.after(machine.untilMs(dueMs), ring);
      const onAbort = () => {
        timer.cancel();
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }
}
