// The agents of one worker, and what is done with them. A worker thread has one; where agents run without a thread, their host has.

import type {
  Answer,
  HostView,
  Load,
  ReplayAnswer,
  ReplayRequest,
  RunAnswer,
  RunRequest,
  WorkerLimits,
  WorkRequest,
} from "../messages.ts";
import type { Pulse } from "../pulse.ts";
import { LogCollector } from "./log-collector.ts";
import type { Machine } from "./machine.ts";
import { CallFailed, Resident } from "./resident.ts";
import { Tape } from "./tape.ts";

/** A replay that has taken so long lets others have their turn. */
const replaySliceNs = 5_000_000n;
/** As much as one agent may have: no more of it is left with a worker that nobody asks for anything any more. */
const muchGarbageBytes = 64 << 20;

export class Workbench {
  readonly #parts: { readonly pulse: Pulse; readonly machine: Machine };
  readonly #logs: LogCollector;
  readonly #tape: Tape;
  readonly #residents = new Map<number, Resident>();
  /** The memory of residents that are gone, since it was last collected. */
  #garbageBytes = 0;

  constructor(parts: { readonly pulse: Pulse; readonly machine: Machine }, limits: WorkerLimits) {
    this.#parts = parts;
    this.#logs = new LogCollector(limits.maxLogBytes);
    this.#tape = new Tape(limits.maxEventBytes);
  }

  drop(agent: number): void {
    const resident = this.#residents.get(agent);
    if (resident === undefined) return;
    this.#residents.delete(agent);
    this.#garbageBytes += resident.memoryBytes;
  }

  /** Gives back what residents had that are gone, once it is much: the engine by itself does so only when memory is asked for. */
  tidy(collectGarbage: () => void): void {
    if (this.#garbageBytes < muchGarbageBytes) return;
    this.#garbageBytes = 0;
    collectGarbage();
  }

  perform(request: WorkRequest): Answer {
    this.#logs.open();
    try {
      return request.kind === "replay" ? this.#replay(request) : this.#run(request);
    } catch (error) {
      this.drop(request.agent);
      if (!(error instanceof CallFailed)) throw error;
      const { phase, reason, message, elapsedNs } = error;
      return { kind: "failed", phase, reason, message, elapsedNs, ...this.#logs.collected() };
    } finally {
      this.#tape.off();
    }
  }

  #run({ kind, agent, load, view }: RunRequest): RunAnswer {
    const logs = this.#logs;
    const resident = this.#residentFor(agent, load, view);
    if (kind !== "tick") {
      const state = kind === "retake" || load?.state === undefined ? resident.checkpoint().slice() : undefined;
      return { kind: "ok", moreWork: false, elapsedNs: 0n, state, events: undefined, ...logs.collected() };
    }
    if (load !== undefined) logs.open(); // what it says while it is loaded once more is no part of the tick
    this.#tape.record();
    const { moreWork, elapsedNs } = resident.tick();
    const state = this.#stateAfter(resident, elapsedNs);
    return { kind: "ok", moreWork, elapsedNs, state, events: this.#tape.recorded(), ...logs.collected() };
  }

  /** As many ticks as fit into a slice of time, but one at least. */
  #replay({ agent, load, view, ticks }: ReplayRequest): ReplayAnswer {
    const { pulse, machine } = this.#parts;
    const beganNs = machine.nowNs();
    pulse.replayed = 0;
    const resident = this.#residentFor(agent, load, view);
    for (const [done, events] of ticks.entries()) {
      const { state, divergence } = this.#repeat(resident, events);
      if (divergence !== undefined) {
        this.drop(agent);
        return { kind: "diverged", done, ...divergence };
      }
      pulse.replayed = done + 1;
      const elapsedNs = machine.nowNs() - beganNs;
      if (done + 1 === ticks.length || elapsedNs > replaySliceNs) {
        return { kind: "replayed", done: done + 1, state: state.slice(), elapsedNs };
      }
    }
    throw new Error("a replay has at least one tick");
  }

  #repeat(resident: Resident, events: Uint8Array): Repeated {
    const tape = this.#tape;
    tape.replay(events);
    try {
      resident.tick("call");
      const state = resident.checkpoint();
      tape.close();
      if (tape.divergence !== undefined) return diverged(tape.divergence);
      return tape.flaw === undefined
        ? { state, divergence: undefined }
        : diverged({ call: tape.calls, reason: tape.flaw });
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      // A tick that failed was never committed, so one that fails is not the tick that was.
      return diverged(tape.divergence ?? { call: tape.calls, reason: error.message });
    }
  }

  #residentFor(agent: number, load: Load | undefined, view: HostView): Resident {
    if (load !== undefined) {
      this.drop(agent); // before its successor asks for memory
      const resident = new Resident({ ...this.#parts, logs: this.#logs, tape: this.#tape }, load, view);
      this.#residents.set(agent, resident);
      return resident;
    }
    const resident = this.#residents.get(agent);
    if (resident === undefined) throw new Error(`agent ${agent} was never loaded in this worker`);
    resident.show(view);
    return resident;
  }

  /** A tick whose state cannot be taken has failed, but the time that it ran is known. */
  #stateAfter(resident: Resident, elapsedNs: bigint): Uint8Array {
    try {
      const state = resident.checkpoint();
      const { flaw } = this.#tape;
      if (flaw === undefined) return state.slice();
      throw new CallFailed(`agent_tick went on after ${flaw}`, { phase: "tick", reason: "trap" });
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      throw new CallFailed(error.message, { phase: error.phase, reason: error.reason, elapsedNs });
    }
  }
}

type Repeated =
  | { readonly state: Uint8Array; readonly divergence: undefined }
  | { readonly state?: undefined; readonly divergence: { readonly call: number; readonly reason: string } };

function diverged(divergence: { readonly call: number; readonly reason: string }): Repeated {
  return { divergence };
}
