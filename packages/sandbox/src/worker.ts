// A worker thread that runs agents, one request after the other. It imports nothing from other packages: it is started from its source
// as well as from what was built.

import { parentPort, workerData } from "node:worker_threads";
import type { FromWorker, Request, WorkerSetup } from "./messages.ts";
import { Pulse } from "./pulse.ts";
import { thisMachine } from "./worker/machine.ts";
import { Workbench } from "./worker/workbench.ts";

const port = parentPort;
if (port === null) throw new Error("worker.ts only runs as a worker thread");

const { pulse, limits } = workerData as WorkerSetup;
const bench = new Workbench({ pulse: new Pulse(pulse), machine: thisMachine }, limits);

port.on("message", (request: Request) => {
  if (request.kind === "drop") {
    bench.drop(request.agent);
    return;
  }
  const answer = bench.perform(request);
  const state = answer.kind === "ok" || answer.kind === "replayed" ? answer.state : undefined;
  const transfer = state === undefined ? [] : [state.buffer as ArrayBuffer];
  port.postMessage({ kind: "answer", answer } satisfies FromWorker, transfer);
});
port.postMessage({ kind: "ready" } satisfies FromWorker);
