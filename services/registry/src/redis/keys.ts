// Every key that the registry has in Redis. They do not share a hash slot: Redis Cluster is not supported (protocol §9).

import type { SessionId } from "@godwit/common/lease";
import type { Placement } from "../store/placement.ts";

export const keys = {
  mark: "godwit:mark",
  openSessions: "godwit:sessions:open",
  /** The same sessions, in order: those of one host are found without a look at all. */
  openSessionsByHost: "godwit:sessions:open:by-host",
  session: (session: SessionId) => `godwit:session:${sessionField(session)}`,
  agent: (agentId: string) => `godwit:agent:${agentId}`,
  history: (agentId: string) => `godwit:history:${agentId}`,
  holders: (agentId: string) => `godwit:holders:${agentId}`,
  agents: "godwit:agents",
  agentsOfHost: (hostId: string) => `godwit:agents-of:${hostId}`,
  /** Of a session that is closed by now, too: what it left, until somebody takes it up. */
  offerWhenClosed: (session: SessionId) => `godwit:offer-when-closed:${sessionField(session)}`,
  offerNow: "godwit:offer-now",
  hosts: "godwit:hosts",
  hostsSeen: "godwit:hosts:seen",
  hostsDraining: "godwit:hosts:draining",
  hostsFailures: "godwit:hosts:failures",
  /** Counts up at every change of the directory. */
  hostsVersion: "godwit:hosts:version",
  /** At which version each host changed last. */
  hostsChanged: "godwit:hosts:changed",
} as const;

/** Neither a peer id nor a boot id has a slash. */
export function sessionField({ hostId, bootId }: SessionId): string {
  return `${hostId}/${bootId}`;
}

export function readSessionField(field: string): SessionId {
  const slash = field.indexOf("/");
  return { hostId: field.slice(0, slash), bootId: field.slice(slash + 1) };
}

export interface Listing {
  readonly key: string;
  readonly change: "add" | "remove";
}

/** In which sets an agent's listing changes with its record. */
export function listings(before: Placement | undefined, after: Placement): readonly Listing[] {
  const changes: Listing[] = [];
  const move = (from: string | undefined, to: string | undefined) => {
    if (from === to) return;
    if (from !== undefined) changes.push({ key: from, change: "remove" });
    if (to !== undefined) changes.push({ key: to, change: "add" });
  };
  if (before === undefined) changes.push({ key: keys.agents, change: "add" });
  const hostKey = (hostId: string | undefined) => hostId && keys.agentsOfHost(hostId);
  const sessionKey = (session: SessionId | undefined) => session && keys.offerWhenClosed(session);
  const [wasOf, isOf] = [sessionKey(before?.offeredWhenClosed), sessionKey(after.offeredWhenClosed)];
  move(hostKey(before?.ownerHostId), hostKey(after.ownerHostId));
  move(wasOf, isOf);
  // A session that was closed has put its agents among those to be offered.
  const mayBeOffered = before?.offeredNow === true || (wasOf !== undefined && wasOf !== isOf);
  if (after.offeredNow) changes.push({ key: keys.offerNow, change: "add" });
  else if (mayBeOffered) changes.push({ key: keys.offerNow, change: "remove" });
  return changes;
}
