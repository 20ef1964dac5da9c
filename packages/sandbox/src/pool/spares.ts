import type { WorkerLimits } from "../messages.ts";
import type { LaneThread, LossCause, ThreadSource } from "./lane.ts";
import { Thread } from "./thread.ts";

const ended: LossCause = { reason: "ended", message: "the sandbox is stopped" };

/** Where lanes get their threads, for as long as the sandbox lives. */
export interface ThreadPool extends ThreadSource {
  close(): Promise<void>;
}

/** Gives out worker threads and keeps one warm, so that a lost one is replaced without the 50 ms that a start takes. */
export class Spares implements ThreadPool {
  readonly #limits: WorkerLimits;
  readonly #seed: Uint8Array | undefined;
  readonly #ending = new Set<Promise<void>>();
  #spare: Thread | undefined;
  #closed = false;

  constructor(limits: WorkerLimits, seed?: Uint8Array) {
    this.#limits = limits;
    this.#seed = seed;
  }

  take(): Thread {
    if (this.#closed) throw new Error("the sandbox is stopped");
    const warm = this.#spare?.loss === undefined ? this.#spare : undefined;
    this.#spare = new Thread(this.#limits, this.#seed);
    return warm ?? new Thread(this.#limits, this.#seed);
  }

  /** Ends a thread in the background; `close` waits for it. */
  retire(thread: LaneThread, cause: LossCause): void {
    if (!(thread instanceof Thread)) throw new TypeError("only a thread that was taken from here can be given back");
    const ending = thread
      .end(cause)
      .catch(() => undefined) // it is gone all the same
      .finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#spare !== undefined) this.retire(this.#spare, ended);
    this.#spare = undefined;
    await Promise.all(this.#ending);
  }
}
