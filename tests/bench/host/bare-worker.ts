// A worker thread with bare instances of a module: it calls the next one's tick for each message, and answers.

import { parentPort } from "node:worker_threads";
import { type BareExports, type BareModule, instantiateBare } from "./bare-wasm.ts";

export type BareRequest =
  | { readonly kind: "make"; readonly module: BareModule; readonly count: number }
  | { readonly kind: "tick" };

if (parentPort === null) throw new Error("bare-worker.ts only runs as a worker thread");
const port = parentPort;
const instances: BareExports[] = [];
let next = 0;

port.on("message", (request: BareRequest) => {
  if (request.kind === "make") {
    for (let made = 0; made < request.count; made++) {
      const instance = instantiateBare(request.module);
      instance["agent_init"]?.();
      instance["agent_tick"]?.();
      instances.push(instance);
    }
  } else instances[next++ % instances.length]?.["agent_tick"]?.();
  port.postMessage("done");
});
