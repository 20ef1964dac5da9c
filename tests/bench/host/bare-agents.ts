// What agents cost at least: bare instances in a bare worker, called by a bare message each.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { compileBare } from "./bare-wasm.ts";
import type { BareRequest } from "./bare-worker.ts";
import { cpuMs } from "./measuring.ts";

export class BareAgents implements AsyncDisposable {
  readonly #worker: Worker;
  /** What the process grew by for each. */
  readonly bytesEach: number;

  static async make(wasmPath: string, count: number): Promise<BareAgents> {
    const module = compileBare(await readFile(wasmPath));
    const worker = new Worker(new URL("./bare-worker.ts", import.meta.url), { env: {}, execArgv: [] });
    await ask(worker, { kind: "make", module, count: 1 });
    const before = process.memoryUsage.rss();
    await ask(worker, { kind: "make", module, count });
    return new BareAgents(worker, (process.memoryUsage.rss() - before) / count);
  }

  private constructor(worker: Worker, bytesEach: number) {
    this.#worker = worker;
    this.bytesEach = bytesEach;
  }

  /** One message, one call, one answer. */
  async tick(): Promise<void> {
    await ask(this.#worker, { kind: "tick" });
  }

  /** Microseconds of processor time for each of so many ticks, of all threads. */
  async cpuUsOf(ticks: number, signal: AbortSignal): Promise<number> {
    const before = cpuMs();
    for (let done = 0; done < ticks; done++) {
      signal.throwIfAborted();
      await this.tick();
    }
    return ((cpuMs() - before) * 1_000) / ticks;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}

async function ask(worker: Worker, request: BareRequest): Promise<void> {
  const answered = once(worker, "message");
  worker.postMessage(request);
  await answered;
}
