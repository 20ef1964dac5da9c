// One agent's instance in a worker. Every call into it is marked in the worker's pulse, so that the host can end it.
//
// A failure leaves the instance in any condition: it is never used again. Nothing that an agent answers is believed before it was
// compared with the bounds of its memory and with the limits.

import { instantiateWasm, type WasmFunction, type WasmMemory } from "../engine.ts";
import type { FailureReason, HostView, Load, Phase } from "../messages.ts";
import { startExport } from "../module/bound.ts";
import type { CallKind, Pulse } from "../pulse.ts";
import { HostcallContext, hostImports } from "./hostcalls.ts";
import type { LogCollector } from "./log-collector.ts";
import type { Machine } from "./machine.ts";
import type { Tape } from "./tape.ts";
import { ProcessExit, showsTime } from "./wasi.ts";

export class CallFailed extends Error {
  override readonly name = "CallFailed";
  readonly phase: Phase;
  readonly reason: FailureReason;
  readonly elapsedNs: bigint;

  constructor(
    message: string,
    { phase, reason, elapsedNs = 0n }: { phase: Phase; reason: FailureReason; elapsedNs?: bigint },
  ) {
    super(message);
    this.phase = phase;
    this.reason = reason;
    this.elapsedNs = elapsedNs;
  }
}

export interface ResidentParts {
  readonly pulse: Pulse;
  readonly logs: LogCollector;
  readonly machine: Machine;
  readonly tape: Tape;
}

export class Resident {
  readonly #pulse: Pulse;
  readonly #maxStateBytes: number;
  readonly #context: HostcallContext;
  readonly #maxMemoryBytes: number;
  readonly #showsTickTime: boolean;
  readonly #exports: Readonly<Record<string, unknown>>;
  readonly #memory: WasmMemory;

  /** Makes the instance and begins or resumes the agent. @throws CallFailed */
  constructor(parts: ResidentParts, load: Load, view: HostView) {
    this.#pulse = parts.pulse;
    this.#maxStateBytes = load.maxStateBytes;
    this.#maxMemoryBytes = load.maxMemoryBytes;
    this.#showsTickTime = load.wasi !== undefined && showsTime(load.wasi);
    this.#context = new HostcallContext(parts);
    this.#context.show(view);
    this.#exports = this.#timed("start", "instantiation", () =>
      instantiateWasm(load.module, hostImports(this.#context, load.hostcalls, load.wasi)),
    );
    this.#memory = this.#exports[load.memoryExport] as WasmMemory;
    this.#context.memory = this.#memory;

    this.#callIfExported(startExport);
    if (typeof this.#exports["_initialize"] === "function") this.#call("start", "_initialize");
    else if (typeof this.#exports["_start"] === "function") this.#start();
    this.#call("start", "agent_init");
    if (load.state !== undefined) this.#resume(load.state);
  }

  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  show(view: HostView): void {
    this.#context.show(view);
  }

  /** A replayed one is no tick of its agent, so the limit of other calls holds for it. */
  tick(kind: CallKind = "tick"): { readonly moreWork: boolean; readonly elapsedNs: bigint } {
    const tick = this.#exports["agent_tick"] as WasmFunction;
    const beganNs = this.#pulse.begin(kind);
    try {
      if (this.#showsTickTime) this.#context.tickTime.hold();
      const result = tick();
      return { moreWork: result !== undefined && result !== 0, elapsedNs: this.#pulse.end() - beganNs };
    } catch (error) {
      throw this.#failure(error, { phase: "tick", call: "agent_tick", elapsedNs: this.#pulse.end() - beganNs });
    } finally {
      this.#context.output.flush();
    }
  }

  /** The agent's state where it lies in its memory: valid until the agent runs again. */
  checkpoint(): Uint8Array {
    const phase = "checkpoint";
    const sizeBytes = this.#call(phase, "agent_checkpoint") >>> 0;
    if (sizeBytes === 0) return new Uint8Array(0);
    if (sizeBytes > this.#maxStateBytes) {
      throw new CallFailed(
        `agent_checkpoint answered a state of ${sizeBytes} bytes; at most ${this.#maxStateBytes} are kept`,
        { phase, reason: "bad-result" },
      );
    }
    if (typeof this.#exports["malloc"] !== "function") {
      throw new CallFailed("the agent has a state but exports no malloc, so that the state could never be resumed", {
        phase,
        reason: "bad-result",
      });
    }
    const pointer = this.#call(phase, "agent_checkpoint_ptr") >>> 0;
    const state = this.#context.bytes(pointer, sizeBytes);
    if (state === undefined) {
      throw new CallFailed(
        `agent_checkpoint_ptr answered ${pointer}: ${sizeBytes} bytes from there are not all in the agent's memory`,
        { phase, reason: "bad-result" },
      );
    }
    return state;
  }

  #resume(state: Uint8Array): void {
    const phase = "resume";
    if (state.length === 0) {
      this.#call(phase, "agent_resume", 0, 0);
      return;
    }
    if (typeof this.#exports["malloc"] !== "function") {
      throw new CallFailed("there is a state to resume, but the module exports no malloc", {
        phase,
        reason: "bad-result",
      });
    }
    const pointer = this.#call(phase, "malloc", state.length) >>> 0;
    if (pointer === 0) {
      throw new CallFailed(`malloc has no room for a state of ${state.length} bytes`, { phase, reason: "memory" });
    }
    const target = this.#context.bytes(pointer, state.length);
    if (target === undefined) {
      throw new CallFailed(
        `malloc answered ${pointer}: ${state.length} bytes from there are not all in the agent's memory`,
        { phase, reason: "bad-result" },
      );
    }
    target.set(state);
    this.#call(phase, "agent_resume", pointer, state.length);
  }

  /** A program that has ended well is an agent whose runtime stands. */
  #start(): void {
    const start = this.#exports["_start"] as WasmFunction;
    this.#timed("start", "_start", () => {
      try {
        start();
      } catch (error) {
        if (!(error instanceof ProcessExit) || error.code !== 0) throw error;
      }
    });
  }

  #callIfExported(name: string): void {
    if (typeof this.#exports[name] === "function") this.#call("start", name);
  }

  #call(phase: Phase, name: string, ...numbers: readonly number[]): number {
    const call = this.#exports[name] as WasmFunction;
    return this.#timed(phase, name, () => call(...numbers)) as number;
  }

  #timed<T>(phase: Phase, call: string, run: () => T): T {
    const kind: CallKind = "call";
    this.#pulse.begin(kind);
    try {
      return run();
    } catch (error) {
      throw this.#failure(error, { phase, call, elapsedNs: 0n });
    } finally {
      this.#pulse.end();
      this.#context.output.flush();
    }
  }

  #failure(error: unknown, at: { phase: Phase; call: string; elapsedNs: bigint }): CallFailed {
    const text = error instanceof Error ? error.message : String(error);
    const memory = this.#memory as WasmMemory | undefined;
    // The engine cannot tell why an agent gave up; one that has taken all of its memory most likely wanted more.
    const full = memory !== undefined && memory.buffer.byteLength >= this.#maxMemoryBytes;
    const refused = memory === undefined && error instanceof RangeError;
    const suffix = full ? `, with all ${this.#maxMemoryBytes} bytes of its memory taken` : "";
    return new CallFailed(`${at.call} trapped: ${text}${suffix}`, {
      phase: at.phase,
      reason: full || refused ? "memory" : "trap",
      elapsedNs: at.elapsedNs,
    });
  }
}
