// An instance of an agent's module, called as a host calls it.

import { type Answerer, type Caller, type Capability, describeQuestion, hostImports } from "./hostcalls.ts";
import { type WasmFunction, type WasmMemory, type WasmModule, webAssembly } from "./wasm.ts";

export interface InstanceParts {
  readonly module: WasmModule;
  readonly granted: ReadonlySet<Capability>;
  readonly maxMemoryBytes: number;
  readonly maxStateBytes: number;
}

export interface Beginning {
  /** To resume it from; without one it begins. */
  readonly state: Uint8Array | undefined;
  /** Hears what the agent says outside of its ticks. */
  readonly onLog: (message: string) => void;
}

export class Instance {
  readonly exports: Readonly<Record<string, unknown>>;
  readonly #caller: Caller;
  readonly #memory: WasmMemory;
  readonly #maxMemoryBytes: number;
  readonly #maxStateBytes: number;
  readonly #onLog: (message: string) => void;

  constructor({ module, granted, ...limits }: InstanceParts, { state, onLog }: Beginning) {
    this.#maxMemoryBytes = limits.maxMemoryBytes;
    this.#maxStateBytes = limits.maxStateBytes;
    this.#onLog = onLog;
    this.#caller = { memory: undefined, answer: this.#refusing("its start") };
    this.exports = new webAssembly.Instance(module, hostImports(this.#caller, granted)).exports;
    this.#memory = this.exports["memory"] as WasmMemory;
    this.#caller.memory = this.#memory;
    if (typeof this.exports["_initialize"] === "function") this.#call("_initialize");
    this.#outsideOfTicks("agent_init");
    if (state !== undefined) this.#resume(state);
  }

  tick(answer: Answerer): boolean {
    this.#caller.answer = answer;
    const result = this.#call("agent_tick");
    return result !== undefined && result !== 0;
  }

  /** A host's limits hold here: what it would not keep, or would not have let come so far, is an error. */
  checkpoint(): Uint8Array {
    const length = Number(this.#outsideOfTicks("agent_checkpoint")) >>> 0;
    const memoryBytes = this.#memory.buffer.byteLength;
    if (memoryBytes > this.#maxMemoryBytes) {
      throw new Error(`it has ${memoryBytes} bytes of memory; a host gives it ${this.#maxMemoryBytes}`);
    }
    if (length === 0) return new Uint8Array();
    if (length > this.#maxStateBytes) {
      throw new Error(`its state has ${length} bytes; a host keeps ${this.#maxStateBytes} at most`);
    }
    const pointer = Number(this.#outsideOfTicks("agent_checkpoint_ptr")) >>> 0;
    return new Uint8Array(this.#memory.buffer, pointer, length).slice();
  }

  #resume(state: Uint8Array): void {
    let pointer = 0;
    if (state.length > 0) {
      pointer = Number(this.#call("malloc", state.length)) >>> 0;
      if (pointer === 0) throw new Error(`malloc has no room for a state of ${state.length} bytes`);
      new Uint8Array(this.#memory.buffer, pointer, state.length).set(state);
    }
    this.#outsideOfTicks("agent_resume", pointer, state.length);
  }

  #outsideOfTicks(name: string, ...numbers: readonly number[]): unknown {
    this.#caller.answer = this.#refusing(name);
    return this.#call(name, ...numbers);
  }

  /** What is asked outside of a tick is in no record, or changes from one run to the next: a replay would go another way. */
  #refusing(during: string): Answerer {
    return (question) => {
      if (question.name !== "log_emit") {
        throw new Error(`in ${during} the agent calls ${describeQuestion(question)}: only agent_tick may ask the host`);
      }
      this.#onLog(question.message);
      return { result: undefined };
    };
  }

  #call(name: string, ...numbers: readonly number[]): unknown {
    const call = this.exports[name];
    if (typeof call !== "function") throw new Error(`the module does not export ${name}`);
    return (call as WasmFunction)(...numbers);
  }
}
