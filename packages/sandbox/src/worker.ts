// A worker thread that runs agents, one request after the other. It imports nothing from other packages: it is started from its source
// as well as from what was built.

import { runInNewContext } from "node:vm";
import { parentPort, workerData } from "node:worker_threads";
import type { Answer, FromWorker, Request, WorkerSetup } from "./messages.ts";
import { Pulse } from "./pulse.ts";
import { thisMachine } from "./worker/machine.ts";
import { seededMachine } from "./worker/seeded-machine.ts";
import { Workbench } from "./worker/workbench.ts";

if (parentPort === null) throw new Error("worker.ts only runs as a worker thread");
const port = parentPort;

const { pulse: buffer, limits, seed } = workerData as WorkerSetup;
const machine = seed === undefined ? thisMachine : seededMachine(seed);
const pulse = new Pulse(buffer);
const bench = new Workbench({ pulse, machine }, limits);

/** An answer waits this long for others to go with it: a slow tick holds up no more than one that ended just before. */
const holdNs = 1_000_000n;

port.on("message", (requests: readonly Request[]) => {
  let answers: Answer[] = [];
  let heldSinceNs = 0n;
  for (const request of requests) {
    if (request.kind === "drop") {
      bench.drop(request.agent);
      continue;
    }
    pulse.next();
    answers.push(bench.perform(request));
    const nowNs = thisMachine.nowNs();
    if (answers.length === 1) heldSinceNs = nowNs;
    if (nowNs - heldSinceNs < holdNs) continue;
    post(answers);
    answers = [];
  }
  if (answers.length > 0) post(answers);
  bench.tidy(collectGarbage);
});

/** Only contexts that were made after the process got its flag (thread.ts) have it. */
let engineGc: (() => void) | undefined;

function collectGarbage(): void {
  engineGc ??= runInNewContext("gc") as () => void;
  engineGc();
}

function post(answers: readonly Answer[]): void {
  const states = answers.flatMap((answer) =>
    (answer.kind === "ok" || answer.kind === "replayed") && answer.state !== undefined ? [answer.state] : [],
  );
  const transfer = states.map(({ buffer }) => buffer as ArrayBuffer);
  port.postMessage({ kind: "answers", answers } satisfies FromWorker, transfer);
}

port.postMessage({ kind: "ready" } satisfies FromWorker);
