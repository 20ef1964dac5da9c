import type { ServicePlan } from "./plan.ts";
import type { RunningCluster } from "./running-cluster.ts";

/** The next handoff that this host sends gets lost on its way: the target sees it neither whole nor claims it. */
export async function loseNextAnswer(cluster: RunningCluster, source: ServicePlan, signal: AbortSignal): Promise<void> {
  await cluster.tell(source.name, "/stream-faults", { at: "handoff", fault: "cut" }, signal);
}
