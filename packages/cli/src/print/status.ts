import type { AgentStatus, MigrateAgentResponse } from "@godwit/proto/godwit/host/v1/host";
import { type Host, nameOf } from "../operations/hosts.ts";
import { formatMs, formatPrice } from "./format.ts";

/** The stable names of what a host says about an agent. */
export function statusJson(status: AgentStatus) {
  return {
    agentId: status.agentId,
    name: status.name,
    state: status.state,
    reason: status.reason,
    hostId: status.hostId,
    era: status.era,
    major: status.major,
    tick: status.tick,
    budget: status.budget,
    pricePerSecond: status.pricePerSecond,
    checkpointTick: status.checkpoint?.tick,
    checkpointDigest: status.checkpoint?.digest,
    stateBytes: status.stateBytes,
    moduleDigest: status.moduleDigest,
    lastOutcome: status.lastOutcome,
    verifiedTick: status.verifiedTick,
    divergences: status.divergences,
    failedTicksInARow: status.failedTicksInARow,
  };
}

/** One event of a migration, flat: `{ atMs, event, ... }`. */
export function migrationJson({ atMs, event }: MigrateAgentResponse, hosts: readonly Host[]): object {
  if (event.case === undefined) return { atMs, event: "unknown" };
  const { $typeName: _, $unknown: __, ...data } = event.value;
  const target = "targetHostId" in event.value ? { target: nameOf(hosts, event.value.targetHostId) } : {};
  return { atMs, event: event.case, ...target, ...data };
}

/** One event of a migration, for people; without its time. */
export function migrationText({ event }: MigrateAgentResponse, hosts: readonly Host[]): string {
  switch (event.case) {
    case "attempt": {
      const { targetHostId, attempt, pricePerSecond } = event.value;
      const price = pricePerSecond === 0n ? "" : ` at ${formatPrice(pricePerSecond)}`;
      return `to ${nameOf(hosts, targetHostId)}${price}${attempt > 1 ? `, attempt ${attempt}` : ""}`;
    }
    case "step":
      return event.value.note === "" ? event.value.step : `${event.value.step}: ${event.value.note}`;
    case "attemptFailed": {
      const { targetHostId, failureClass, code, message, backOffMs } = event.value;
      const next = backOffMs > 0 ? `; again in ${formatMs(backOffMs)}` : "";
      return `${nameOf(hosts, targetHostId)} failed (${failureClass}): ${code}: ${message}${next}`;
    }
    case "done": {
      const { targetHostId, major, tick, blackoutMs, totalMs } = event.value;
      const times = `blackout ${formatMs(blackoutMs)}, ${formatMs(totalMs)} in all`;
      return `runs on ${nameOf(hosts, targetHostId)} from tick ${tick + 1n}, major ${major}: ${times}`;
    }
    case "givenUp":
      return `given up: ${event.value.code}: ${event.value.message}; the agent is ${event.value.state}`;
    case undefined:
      return "something that this version does not know";
  }
}
