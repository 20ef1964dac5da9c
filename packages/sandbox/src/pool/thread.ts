// One worker thread as the host sees it. It is lost once: by its own end, or because the host ended it.

import { Worker } from "node:worker_threads";
import type { FromWorker, Request, WorkerLimits, WorkerSetup } from "../messages.ts";
import { type Beat, monotonicNs, Pulse } from "../pulse.ts";
import type { LaneThread, Loss, LossCause, ThreadListener } from "./lane.ts";

const heapLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 };
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const workerUrl = new URL(`../worker.${extension}`, import.meta.url);

export class Thread implements LaneThread {
  readonly #worker: Worker;
  readonly #pulse = new Pulse();
  #listener: ThreadListener | undefined;
  #ready = false;
  #loss: Loss | undefined;

  constructor(limits: WorkerLimits) {
    const setup: WorkerSetup = { pulse: this.#pulse.buffer, limits };
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

  /** The state in a request to load is the worker's afterwards. */
  send(request: Request): void {
    const state = request.kind === "drop" ? undefined : request.load?.state;
    this.#worker.postMessage(request, state === undefined ? [] : [state.buffer as ArrayBuffer]);
  }

  beat(): Beat {
    return this.#pulse.read();
  }

  /** Ends the worker, whatever runs in it; what it still says is not heard. */
  async end(cause: LossCause): Promise<void> {
    this.#lose(cause);
    await this.#worker.terminate();
  }

  #hear(message: FromWorker): void {
    if (this.#loss !== undefined) return;
    if (message.kind === "answer") {
      this.#listener?.answered(message.answer);
      return;
    }
    this.#ready = true;
    this.#listener?.ready();
  }

  #lose(cause: LossCause): void {
    if (this.#loss !== undefined) return;
    const beat = this.#pulse.read();
    const ranNs = beat.kind === "idle" ? 0n : monotonicNs() - beat.sinceNs;
    this.#loss = { ...cause, ranNs, replayed: this.#pulse.replayed };
    this.#listener?.lost(this.#loss);
  }
}

function lossOf(error: unknown): LossCause {
  const { code, message } = error as { readonly code?: string; readonly message?: string };
  const text = `the worker failed: ${message ?? String(error)}`;
  return { reason: code === "ERR_WORKER_OUT_OF_MEMORY" ? "memory" : "crash", message: text };
}
