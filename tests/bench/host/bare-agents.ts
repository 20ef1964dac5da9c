// What agents cost at least: bare instances in a bare worker, called by a bare message each.

import { Worker } from "node:worker_threads";
import { type BareModule, compileBare } from "./bare-wasm.ts";
import type { BareRequest } from "./bare-worker.ts";
import { cpuMs } from "./measuring.ts";

export class BareAgents implements AsyncDisposable {
  readonly #worker = new Worker(new URL("./bare-worker.ts", import.meta.url), { env: {}, execArgv: [] });
  /** Oldest first: the worker answers in order. */
  readonly #waiting: (() => void)[] = [];
  #bytesEach = 0;

  static async make(wasm: Uint8Array, count: number): Promise<BareAgents> {
    const agents = new BareAgents();
    const module = compileBare(wasm);
    await agents.add(module);
    const before = process.memoryUsage.rss();
    await agents.#ask({ kind: "make", module, count });
    agents.#bytesEach = (process.memoryUsage.rss() - before) / count;
    return agents;
  }

  private constructor() {
    this.#worker.on("message", () => this.#waiting.shift()?.());
  }

  /** What the process grew by for each. */
  get bytesEach(): number {
    return this.#bytesEach;
  }

  /** One more, of any module. */
  add(module: BareModule): Promise<void> {
    return this.#ask({ kind: "make", module, count: 1 });
  }

  /** One message, one call, one answer. Any number may be under way. */
  tick(): Promise<void> {
    return this.#ask({ kind: "tick" });
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

  #ask(request: BareRequest): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#worker.postMessage(request);
    });
  }
}
