// The agents of one worker, and what is done with them. A worker thread has one; where agents run without a thread, their host has.

import type { Answer, HostView, Load, Request, WorkerLimits } from "../messages.ts";
import type { Pulse } from "../pulse.ts";
import { LogCollector } from "./log-collector.ts";
import type { Machine } from "./machine.ts";
import { CallFailed, Resident } from "./resident.ts";

export class Workbench {
  readonly #parts: { readonly pulse: Pulse; readonly machine: Machine };
  readonly #limits: WorkerLimits;
  readonly #logs: LogCollector;
  readonly #residents = new Map<number, Resident>();

  constructor(parts: { readonly pulse: Pulse; readonly machine: Machine }, limits: WorkerLimits) {
    this.#parts = parts;
    this.#limits = limits;
    this.#logs = new LogCollector(limits.maxLogBytes);
  }

  drop(agent: number): void {
    this.#residents.delete(agent);
  }

  perform({ kind, agent, load, view }: Exclude<Request, { kind: "drop" }>): Answer {
    const logs = this.#logs;
    logs.open();
    try {
      const resident = this.#residentFor(agent, load, view);
      if (kind === "load") {
        const state = load?.state === undefined ? resident.checkpoint() : undefined;
        return { kind: "ok", moreWork: false, elapsedNs: 0n, state, ...logs.collected() };
      }
      if (load !== undefined) logs.open(); // what it says while it is loaded once more is no part of the tick
      const { moreWork, elapsedNs } = resident.tick();
      return { kind: "ok", moreWork, elapsedNs, state: checkpointAfter(resident, elapsedNs), ...logs.collected() };
    } catch (error) {
      this.#residents.delete(agent);
      if (!(error instanceof CallFailed)) throw error;
      const { phase, reason, message, elapsedNs } = error;
      return { kind: "failed", phase, reason, message, elapsedNs, ...logs.collected() };
    }
  }

  #residentFor(agent: number, load: Load | undefined, view: HostView): Resident {
    if (load !== undefined) {
      this.#residents.delete(agent); // before its successor asks for memory
      const resident = new Resident({ ...this.#parts, logs: this.#logs }, this.#limits, load, view);
      this.#residents.set(agent, resident);
      return resident;
    }
    const resident = this.#residents.get(agent);
    if (resident === undefined) throw new Error(`agent ${agent} was never loaded in this worker`);
    resident.show(view);
    return resident;
  }
}

/** A tick whose state cannot be taken has failed, but the time that it ran is known. */
function checkpointAfter(resident: Resident, elapsedNs: bigint): Uint8Array {
  try {
    return resident.checkpoint();
  } catch (error) {
    if (!(error instanceof CallFailed)) throw error;
    throw new CallFailed(error.message, { phase: error.phase, reason: error.reason, elapsedNs });
  }
}
