// Walks through one model in a thread of its own, so that the terminal stays responsive and two can be walked at once.

import { parentPort, workerData } from "node:worker_threads";
import type { Progress } from "./engine/search.ts";
import { models } from "./models.ts";
import { type ModelRun, runModel } from "./run-model.ts";

export interface WorkerOrder {
  readonly name: string;
  readonly maxStates: number;
}

export type WorkerWord =
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "done"; readonly run: ModelRun; readonly cpuSeconds: number };

function work({ name, maxStates }: WorkerOrder): void {
  const model = models.find((candidate) => candidate.name === name);
  if (model === undefined) throw new Error(`there is no model ${name}`);
  const say = (word: WorkerWord): void => parentPort?.postMessage(word);
  const run = runModel(model, { maxStates, onProgress: (progress) => say({ kind: "progress", progress }) });
  say({ kind: "done", run, cpuSeconds: process.threadCpuUsage().user / 1e6 });
}

work(workerData as WorkerOrder);
