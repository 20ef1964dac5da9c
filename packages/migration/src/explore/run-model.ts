// One model, from its budgets to a verdict.

import { type Progress, type SearchResult, search } from "./engine/search.ts";
import { Cluster } from "./model/cluster.ts";
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

export function runModel({ name, options }: Model, limits: RunLimits): ModelRun {
  const rows: string[] = [];
  const cluster = new Cluster({ ...options, onRow: (row) => rows.push(row) });
  return { name, result: search(cluster, limits), rows };
}
