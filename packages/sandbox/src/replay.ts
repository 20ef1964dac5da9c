// Runs the ticks of an agent once more, on what its host answered it then, in the workers that run agents.
//
// R-1  The instance is made as a live one is: instantiated, initialized, resumed from the state before the first tick.
// R-2  It goes in slices, so that agents that share the worker wait for a moment only. The state after each slice is held here: a worker that
//      is lost between two of them costs nothing.
// R-3  `diverged` is said of what was replayed only; a replay that could not be done, or not in time, has `failed` and shows nothing.

import { hash } from "node:crypto";
import type { AgentCode, TickFailure } from "./agent.ts";
import type { TickToRepeat } from "./events/event-log.ts";
import type { HostView, ReplayRequest } from "./messages.ts";
import type { Lane, LaneThread, Loss, Outcome } from "./pool/lane.ts";
import { takeTurn, type Turn } from "./pool/turn.ts";

export type ReplayResult =
  | {
      readonly kind: "replayed";
      /** After the last tick: the caller knows what it has to be. */
      readonly state: Uint8Array;
      /** What it took to replay, in the workers. */
      readonly elapsedNs: bigint;
    }
  | {
      readonly kind: "diverged";
      readonly tick: bigint;
      /** Which of the tick's calls of the host, from 0; undefined if it came to no tick. */
      readonly call: number | undefined;
      readonly reason: string;
    }
  | { readonly kind: "failed"; readonly tick: bigint; readonly reason: TickFailure; readonly message: string };

export interface ReplayParts {
  readonly handle: number;
  readonly lane: Lane;
  wallNs(): bigint;
}

export interface ReplayWork {
  readonly agentId: string;
  readonly code: AgentCode;
  readonly state: Uint8Array;
  readonly ticks: readonly TickToRepeat[];
}

/** What one request takes along: a worker gets through more only if the ticks do next to nothing. */
const mostTicksAtOnce = 64;
const enoughBytesAtOnce = 262_144;

export class Replay {
  readonly #parts: ReplayParts;
  readonly #work: ReplayWork;
  #state: Uint8Array;
  #next = 0;
  #elapsedNs = 0n;
  #home: LaneThread | undefined;
  #turn: Turn | undefined;

  constructor(parts: ReplayParts, work: ReplayWork) {
    this.#parts = parts;
    this.#work = work;
    this.#state = work.state;
  }

  /** Rejects with the signal's reason, or that of `end`. */
  async run(signal: AbortSignal): Promise<ReplayResult> {
    const { handle, lane } = this.#parts;
    try {
      while (this.#next < this.#work.ticks.length) {
        const result = this.#after(await this.#slice(signal));
        if (result !== undefined) return result;
      }
      return { kind: "replayed", state: this.#state, elapsedNs: this.#elapsedNs };
    } finally {
      if (this.#home !== undefined) lane.drop(handle, this.#home);
    }
  }

  end(reason: unknown): void {
    this.#turn?.giveUp(reason);
  }

  #slice(signal: AbortSignal): Promise<Outcome> {
    const job = {
      agentId: this.#work.agentId,
      request: (thread: LaneThread) => this.#request(thread),
      onGivenUp: () => {},
    };
    this.#turn = takeTurn(this.#parts.lane, job, signal);
    return this.#turn.outcome;
  }

  #request(thread: LaneThread): ReplayRequest {
    const { code } = this.#work;
    const load = this.#home === thread ? undefined : { ...code, state: new Uint8Array(this.#state) };
    this.#home = thread;
    return { kind: "replay", agent: this.#parts.handle, load, view: this.#view(), ticks: this.#batch() };
  }

  #view(): HostView {
    return { wallNs: this.#parts.wallNs(), balanceMicrocents: 0n, pricePerSecond: 0n, receipts: [] };
  }

  /** Copies, because posting a view posts all of the buffer under it. */
  #batch(): Uint8Array[] {
    const batch: Uint8Array[] = [];
    let bytes = 0;
    for (let index = this.#next; index < this.#work.ticks.length; index++) {
      const { events = new Uint8Array(0), stateDigest } = this.#work.ticks[index] ?? {};
      batch.push(new Uint8Array(events));
      bytes += events.length;
      if (stateDigest !== undefined || batch.length === mostTicksAtOnce || bytes >= enoughBytesAtOnce) break;
    }
    return batch;
  }

  /** Undefined: it goes on. */
  #after(outcome: Outcome): ReplayResult | undefined {
    if (outcome.kind === "lost") {
      this.#home = undefined;
      return lostWith(outcome.loss, this.#tick(outcome.loss.replayed));
    }
    const { answer } = outcome;
    switch (answer.kind) {
      case "replayed":
        this.#next += answer.done;
        this.#state = answer.state;
        this.#elapsedNs += answer.elapsedNs;
        return this.#isAsRecorded()
          ? undefined
          : { kind: "diverged", tick: this.#tick(-1), call: undefined, reason: "the state after it is another one" };
      case "diverged":
        this.#home = undefined;
        return { kind: "diverged", tick: this.#tick(answer.done), call: answer.call, reason: answer.reason };
      case "failed": {
        this.#home = undefined;
        const { phase, reason, message } = answer;
        const tick = this.#tick(0);
        return phase === "resume"
          ? { kind: "diverged", tick, call: undefined, reason: message }
          : { kind: "failed", tick, reason, message };
      }
      case "ok":
        throw new Error("the worker answered a replay as a tick");
    }
  }

  #isAsRecorded(): boolean {
    const stateDigest = this.#work.ticks[this.#next - 1]?.stateDigest;
    return stateDigest === undefined || hash("sha256", this.#state, "hex") === stateDigest;
  }

  /** The number of the tick that is so many after the first of the slice. */
  #tick(after: number): bigint {
    const { ticks } = this.#work;
    const tick = ticks[Math.min(this.#next + after, ticks.length - 1)];
    if (tick === undefined) throw new Error("a slice of a replay has at least one tick");
    return tick.tick;
  }
}

function lostWith({ reason, message }: Loss, tick: bigint): ReplayResult {
  const why = reason === "time-out" || reason === "memory" ? reason : "worker-lost";
  return { kind: "failed", tick, reason: why, message };
}
