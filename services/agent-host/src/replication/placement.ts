// Which hosts keep copies of an agent. Pure.
//
// 1. A host that keeps a copy goes on keeping it as long as it lives and takes it: so the module travels once.
// 2. Which hosts join is drawn from the ids alone: copies spread evenly, and an owner that was restarted comes back to the
//    hosts that have the agent.

import { digestOf } from "@godwit/lineage";

export interface PlacementQuestion {
  readonly agentId: string;
  readonly replicas: number;
  /** The hosts chosen before. */
  readonly chosen: readonly string[];
  /** Hosts that live and take copies. */
  readonly hostIds: readonly string[];
  /** Those that nothing is sent to for now. */
  readonly isAvoided: (hostId: string) => boolean;
}

/** The hosts to keep copies: as many as were asked for, or as there are. */
export function placeCopies({ agentId, replicas, chosen, hostIds, isAvoided }: PlacementQuestion): readonly string[] {
  const fit = hostIds.filter((hostId) => !isAvoided(hostId));
  const kept = chosen.filter((hostId) => fit.includes(hostId)).slice(0, replicas);
  if (kept.length === replicas) return kept;
  const drawn = fit
    .filter((hostId) => !kept.includes(hostId))
    .map((hostId) => ({ hostId, draw: digestOf(new TextEncoder().encode(`${agentId}/${hostId}`)) }))
    .toSorted((a, b) => (a.draw < b.draw ? -1 : 1));
  return [...kept, ...drawn.slice(0, replicas - kept.length).map(({ hostId }) => hostId)];
}
