// One worker thread as the host sees it. It is lost once: by its own end, or because the host ended it.

import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import type { FromWorker, Request, WorkerLimits, WorkerSetup } from "../messages.ts";
import { type Beat, monotonicNs, Pulse } from "../pulse.ts";
import type { LaneThread, Loss, LossCause, ThreadListener } from "./lane.ts";

/**
 * Far above what thousands of agents take there, 10 KiB each: the engine collects ever more often long before it comes to its limit. With
 * 128 MiB there were 93 full collections while 5,000 agents were started, in which none ticks; with this, 51.
 */
const heapLimits = { maxOldGenerationSizeMb: 1_024, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 };
/** So many agents that share a worker tick in one message, at most; enough to make its price small beside theirs. */
const capacity = 64;
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const workerUrl = new URL(`../worker.${extension}`, import.meta.url);

export class Thread implements LaneThread {
  readonly capacity = capacity;
  readonly #worker: Worker;
  readonly #pulse = new Pulse();
  #listener: ThreadListener | undefined;
  #outbox: Request[] = [];
  #answered = 0;
  #ready = false;
  #loss: Loss | undefined;

  constructor(limits: WorkerLimits, seed?: Uint8Array) {
    setFlagsFromString("--expose-gc"); // for worker.ts; of the whole process, so not for the worker to set
    const setup: WorkerSetup = { pulse: this.#pulse.buffer, limits, seed };
    this.#worker = new Worker(workerUrl, {
      name: "godwit-agents",
      workerData: setup,
      env: {},
      execArgv: [],
      resourceLimits: heapLimits,
    });
    this.#worker.on("message", (message: FromWorker) => this.#hear(message));
    this.#worker.on("error", (error) => this.#lose(lossOf(error)));
    this.#worker.on("exit", (code) =>
      this.#lose({ reason: "crash", message: `the worker ended by itself with code ${code}` }),
    );
  }

  get ready(): boolean {
    return this.#ready;
  }

  get loss(): Loss | undefined {
    return this.#loss;
  }

  listen(listener: ThreadListener): void {
    this.#listener = listener;
    if (this.#loss !== undefined) listener.lost(this.#loss);
    else if (this.#ready) listener.ready();
  }

  /** What is sent in one turn of the event loop goes in one message. The state in a request to load is the worker's afterwards. */
  send(request: Request): void {
    if (this.#outbox.push(request) === 1) setImmediate(this.#post);
  }

  beat(): Beat {
    return this.#pulse.read();
  }

  /** Ends the worker, whatever runs in it; what it still says is not heard. */
  async end(cause: LossCause): Promise<void> {
    this.#lose(cause);
    await this.#worker.terminate();
  }

  readonly #post = (): void => {
    const requests = this.#outbox;
    this.#outbox = [];
    if (this.#loss !== undefined) return;
    const states = requests.flatMap((request) => (request.kind === "drop" ? [] : (request.load?.state ?? [])));
    const transfer = states.map(({ buffer }) => buffer as ArrayBuffer);
    this.#worker.postMessage(requests, transfer);
  };

  #hear(message: FromWorker): void {
    if (message.kind === "ready") {
      if (this.#loss !== undefined) return;
      this.#ready = true;
      this.#listener?.ready();
      return;
    }
    for (const answer of message.answers) {
      if (this.#loss !== undefined) return;
      this.#answered = (this.#answered + 1) | 0;
      this.#listener?.answered(answer);
    }
  }

  #lose(cause: LossCause): void {
    if (this.#loss !== undefined) return;
    const beat = this.#pulse.read();
    const ranNs = beat.kind === "idle" ? 0n : monotonicNs() - beat.sinceNs;
    const at = Math.max(0, this.#pulse.begunSince(this.#answered) - 1);
    this.#loss = { ...cause, ranNs, replayed: this.#pulse.replayed, at };
    this.#listener?.lost(this.#loss);
  }
}

function lossOf(error: unknown): LossCause {
  const { code, message } = error as { readonly code?: string; readonly message?: string };
  const text = `the worker failed: ${message ?? String(error)}`;
  return { reason: code === "ERR_WORKER_OUT_OF_MEMORY" ? "memory" : "crash", message: text };
}
