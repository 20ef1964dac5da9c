// The signed headers of an agent that was created and has ticked, as a registry and hosts show them.

import { ada, createAgent, next, registry } from "@godwit/lineage/testing";

export const registryKey = registry;
export const hostKey = ada.signer;
export const { hostId, bootId } = ada;

export function lineageStory() {
  const first = createAgent(ada);
  const second = next(first, { host: ada, ticks: 2n });
  return { agentId: first.header.agentId, first, second };
}
