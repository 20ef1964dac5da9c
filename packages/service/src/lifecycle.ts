// Parts start in order and stop in reverse. A start that fails, or is aborted, undoes what it did; a stop goes on
// whatever fails, and reports all failures together.

/** Something that runs. Each method is called once per run. */
export interface Part {
  /** For logs. */
  readonly name: string;
  start?(signal: AbortSignal): Promise<void>;
  stop?(): Promise<void>;
}

export interface LifecycleEvent {
  readonly part: string;
  readonly did: "started" | "stopped" | "failed to stop";
  readonly error?: unknown;
}

/** Gives a name to what has `start` and `stop`. */
export function part(name: string, running: Omit<Part, "name">): Part {
  return {
    name,
    start: async (signal) => await running.start?.(signal),
    stop: async () => await running.stop?.(),
  };
}

export class Lifecycle {
  readonly #parts: readonly Part[];
  readonly #onEvent: (event: LifecycleEvent) => void;
  #started: Part[] = [];

  constructor(parts: readonly Part[], onEvent: (event: LifecycleEvent) => void = () => {}) {
    this.#parts = parts;
    this.#onEvent = onEvent;
  }

  /** Rejects with the first failure, or the signal's reason, when everything that had started has stopped again. */
  async start(signal: AbortSignal): Promise<void> {
    if (this.#started.length > 0) throw new Error("the parts were started already");
    try {
      for (const part of this.#parts) {
        signal.throwIfAborted();
        // What fails in the middle of its start is stopped too: it may hold something.
        this.#started.push(part);
        await part.start?.(signal);
        this.#onEvent({ part: part.name, did: "started" });
      }
      signal.throwIfAborted();
    } catch (error) {
      const failures = await this.#stopAll();
      if (failures.length === 0) throw error;
      throw new AggregateError([error, ...failures], "a part did not start, and what had started did not stop", {
        cause: error,
      });
    }
  }

  /** Rejects with an AggregateError when a part did not stop; the others have stopped then. */
  async stop(): Promise<void> {
    const failures = await this.#stopAll();
    if (failures.length > 0) throw new AggregateError(failures, `${failures.length} of the parts did not stop`);
  }

  async #stopAll(): Promise<unknown[]> {
    const parts = this.#started.reverse();
    this.#started = [];
    const failures: unknown[] = [];
    for (const part of parts) {
      try {
        await part.stop?.();
        this.#onEvent({ part: part.name, did: "stopped" });
      } catch (error) {
        failures.push(error);
        this.#onEvent({ part: part.name, did: "failed to stop", error });
      }
    }
    return failures;
  }
}
