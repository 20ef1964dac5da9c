// A worker thread that runs agents, one request after the other. It imports nothing from other packages: it is started from its source
// as well as from what was built.

import { parentPort, workerData } from "node:worker_threads";
import type { Answer, FromWorker, HostView, Load, Request, WorkerSetup } from "./messages.ts";
import { Pulse } from "./pulse.ts";
import { LogCollector } from "./worker/log-collector.ts";
import { CallFailed, Resident } from "./worker/resident.ts";

const port = parentPort;
if (port === null) throw new Error("worker.ts only runs as a worker thread");

const { pulse: pulseBuffer, limits } = workerData as WorkerSetup;
const pulse = new Pulse(pulseBuffer);
const logs = new LogCollector(limits.maxLogBytes);
const residents = new Map<number, Resident>();

port.on("message", (request: Request) => {
  if (request.kind === "drop") {
    residents.delete(request.agent);
    return;
  }
  const answer = perform(request);
  const transfer = answer.kind === "ok" && answer.state !== undefined ? [answer.state.buffer as ArrayBuffer] : [];
  port.postMessage({ kind: "answer", answer } satisfies FromWorker, transfer);
});
port.postMessage({ kind: "ready" } satisfies FromWorker);

function perform({ kind, agent, load, view }: Exclude<Request, { kind: "drop" }>): Answer {
  logs.open();
  try {
    const resident = residentFor(agent, load, view);
    if (kind === "load") {
      const state = load?.state === undefined ? resident.checkpoint() : undefined;
      return { kind: "ok", moreWork: false, elapsedNs: 0n, state, ...logs.collected() };
    }
    if (load !== undefined) logs.open(); // what it says while it is loaded once more is no part of the tick
    const { moreWork, elapsedNs } = resident.tick();
    return { kind: "ok", moreWork, elapsedNs, state: checkpointAfter(resident, elapsedNs), ...logs.collected() };
  } catch (error) {
    residents.delete(agent);
    if (!(error instanceof CallFailed)) throw error;
    const { phase, reason, message, elapsedNs } = error;
    return { kind: "failed", phase, reason, message, elapsedNs, ...logs.collected() };
  }
}

function residentFor(agent: number, load: Load | undefined, view: HostView): Resident {
  if (load !== undefined) {
    residents.delete(agent); // before its successor asks for memory
    const resident = new Resident({ pulse, logs }, limits, load, view);
    residents.set(agent, resident);
    return resident;
  }
  const resident = residents.get(agent);
  if (resident === undefined) throw new Error(`agent ${agent} was never loaded in this worker`);
  resident.show(view);
  return resident;
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
