// Runs agents where they are asked for, without a thread, on the very code of a worker: for simulations, where one thread is the whole
// cluster. An agent that does not end cannot be ended here, so it is for agents that are known to end.

import type { Clock } from "@godwit/common/clock";
import type { Answer, Request, WorkerLimits } from "../messages.ts";
import { type Beat, Pulse } from "../pulse.ts";
import type { Machine } from "../worker/machine.ts";
import { Workbench } from "../worker/workbench.ts";
import type { LaneThread, Loss, LossCause, ThreadListener } from "./lane.ts";
import type { ThreadPool } from "./spares.ts";

export interface InlineParts {
  readonly clock: Clock;
  readonly machine: Machine;
  /** How long the next answer takes to come; 0 or less: it is there at once. */
  readonly answersAfterMs: () => number;
}

export class InlineThreads implements ThreadPool {
  readonly #parts: InlineParts;
  readonly #limits: WorkerLimits;

  constructor(parts: InlineParts, limits: WorkerLimits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  take(): LaneThread {
    return new InlineThread(this.#parts, this.#limits);
  }

  retire(thread: LaneThread, cause: LossCause): void {
    if (!(thread instanceof InlineThread))
      throw new TypeError("only a thread that was taken from here can be given back");
    thread.end(cause);
  }

  async close(): Promise<void> {
    // Nothing runs that was not given back.
  }
}

class InlineThread implements LaneThread {
  readonly capacity = 1;
  readonly ready = true;
  readonly #parts: InlineParts;
  readonly #pulse: Pulse;
  readonly #bench: Workbench;
  readonly #ended = new AbortController();
  #listener: ThreadListener | undefined;
  #loss: Loss | undefined;

  constructor(parts: InlineParts, limits: WorkerLimits) {
    const { machine } = parts;
    this.#parts = parts;
    this.#pulse = new Pulse(undefined, () => machine.nowNs());
    this.#bench = new Workbench({ pulse: this.#pulse, machine }, limits);
  }

  get loss(): Loss | undefined {
    return this.#loss;
  }

  listen(listener: ThreadListener): void {
    this.#listener = listener;
    if (this.#loss !== undefined) listener.lost(this.#loss);
    else listener.ready();
  }

  send(request: Request): void {
    if (request.kind === "drop") {
      this.#bench.drop(request.agent);
      return;
    }
    const answer = this.#bench.perform(request);
    const afterMs = this.#parts.answersAfterMs();
    // Never from inside `send`, as no thread would.
    const arrived = afterMs > 0 ? this.#parts.clock.sleep(afterMs, this.#ended.signal) : Promise.resolve();
    arrived.then(
      () => this.#answer(answer),
      () => {}, // ended meanwhile
    );
  }

  beat(): Beat {
    return this.#pulse.read();
  }

  end(cause: LossCause): void {
    if (this.#loss !== undefined) return;
    this.#loss = { ...cause, ranNs: 0n, replayed: 0, at: 0 };
    this.#ended.abort();
    this.#listener?.lost(this.#loss);
  }

  #answer(answer: Answer): void {
    if (this.#loss === undefined) this.#listener?.answered(answer);
  }
}
