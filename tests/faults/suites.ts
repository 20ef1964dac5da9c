// The suites by name, and how much of each is run.

import type { Cluster } from "@godwit/testing";
import { runBytes } from "./bytes.ts";
import { runCrashes } from "./crash.ts";
import { runFrames, type SuiteRules } from "./frames.ts";
import { runPartitions } from "./partition.ts";
import { runStoreLosses } from "./store-losses.ts";
import { twinsRegistry } from "./twins.ts";

export const SUITES = ["frames", "bytes", "crash", "partition", "store"] as const;
export type Suite = (typeof SUITES)[number];

export interface FaultsRules extends SuiteRules {
  readonly seed: number;
  /** How many cuts at byte offsets. */
  readonly offsets: number;
  /** `bounded`: what a test run has time for. */
  readonly share: "all" | "bounded";
}

export async function runSuite(suite: Suite, rules: FaultsRules): Promise<void> {
  switch (suite) {
    case "frames":
      return await withTwins((cluster) => runFrames(cluster, rules));
    case "bytes":
      return await withTwins((cluster) => runBytes(cluster, rules));
    case "crash":
      return await runCrashes(rules);
    case "partition":
      return await runPartitions(rules);
    case "store":
      return await runStoreLosses(rules);
  }
}

async function withTwins(run: (cluster: Cluster) => Promise<void>): Promise<void> {
  await using cluster = await twinsRegistry();
  await run(cluster);
}
