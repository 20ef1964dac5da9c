// One model, from its budgets to a verdict.

import { type Progress, type SearchResult, search } from "./engine/search.ts";
import type { Model } from "./models.ts";

export interface ModelRun {
  readonly name: string;
  readonly result: SearchResult;
  /** Rows of the tables that occurred (coverage.ts). */
  readonly rows: readonly string[];
}

export interface RunLimits {
  readonly maxStates: number;
  readonly onProgress?: (progress: Progress) => void;
}

export function runModel({ name, make }: Model, limits: RunLimits): ModelRun {
  const rows = new Set<string>();
  const system = make((row) => rows.add(row));
  return { name, result: search(system, limits), rows: [...rows] };
}
