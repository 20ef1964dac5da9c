// What the parts of the host's benchmark share.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Results } from "../program.ts";

export interface PartInput {
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Figures that are measured together. */
export type Part = (input: PartInput) => Promise<Results>;

/** Of this process, all of its threads. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Where an example agent was built, and its manifest. */
export async function agentFiles(agent: string, name: string) {
  const wasmPath = fileURLToPath(new URL(`../../../agents/${agent}/build/${name}.wasm`, import.meta.url));
  const manifest = JSON.parse(await readFile(wasmPath.replace(/\.wasm$/, ".manifest.json"), "utf8")) as object;
  return { wasmPath, manifest };
}
