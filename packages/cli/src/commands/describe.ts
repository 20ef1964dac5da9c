import { argument } from "@godwit/common/config";
import { isFault } from "@godwit/common/fault";
import type { AgentStatus } from "@godwit/proto/godwit/host/v1/host";
import type { HistoryEntry } from "@godwit/proto/godwit/registry/v1/authority";
import { defineCommand } from "../command.ts";
import { type Host, listHosts, nameOf } from "../operations/hosts.ts";
import { type FoundAgent, findAgent, reasonOf, stateOf } from "../operations/records.ts";
import { formatBudget, formatPrice, formatTime } from "../print/format.ts";
import { statusJson } from "../print/status.ts";
import { table } from "../print/table.ts";
import type { Session } from "../session.ts";

export const describe = defineCommand({
  name: "describe",
  summary: "Says all that is known of an agent: its record, who holds it, its history, how it does.",
  options: {},
  arguments: { agent: argument.required("The agent: id, prefix or name.") },
  run: async ({ arguments: { agent }, session, output }) => {
    const found = await findAgent(session, agent);
    const { agentId } = found.record;
    const [hosts, { entries }] = await Promise.all([
      listHosts(session),
      session.authority.getAgentHistory({ agentId }, session.call()),
    ]);
    const { status, silence } = await localStatus(session, found, hosts);
    output.result(
      {
        record: recordJson(found, hosts),
        status: status && statusJson(status),
        statusMissing: silence,
        holders: holdersJson(found, hosts),
        history: entries.map((entry) => historyJson(entry, hosts)),
      },
      () => [
        ...recordText(found, hosts),
        "",
        ...(status === undefined ? [`Local status: ${silence}`] : statusText(status)),
        "",
        ...holdersText(found, hosts),
        "",
        ...historyText(entries, hosts),
      ],
    );
    return undefined;
  },
});

async function localStatus(session: Session, { record }: FoundAgent, hosts: readonly Host[]) {
  const owner = hosts.find(({ hostId }) => hostId === record.owner?.hostId);
  if (owner === undefined) return { status: undefined, silence: "no known host owns it" };
  try {
    const { agent } = await session.host(owner.grpcAddress).getAgent({ agentId: record.agentId }, session.call());
    return { status: agent, silence: agent === undefined ? `${owner.name} said nothing` : undefined };
  } catch (error) {
    session.signal.throwIfAborted();
    if (!isFault(error)) throw error;
    return { status: undefined, silence: `${owner.name} does not say: ${error.code}: ${error.message}` };
  }
}

function recordJson({ record, ownerSessionVoid }: FoundAgent, hosts: readonly Host[]) {
  return {
    agentId: record.agentId,
    name: record.name,
    state: stateOf(record),
    reason: reasonOf(record),
    era: record.era,
    major: record.major,
    revision: record.revision,
    incarnation: record.incarnation,
    ownerHostId: record.owner?.hostId,
    owner: record.owner && nameOf(hosts, record.owner.hostId),
    ownerBootId: record.owner?.bootId,
    ownerSessionVoid,
    handoffId: record.handoff?.id,
    handoffTargetHostId: record.handoff?.targetHostId,
    headMajor: record.head?.major,
    headTick: record.head?.tick,
    headDigest: record.head?.digest,
    baseUnconfirmed: record.unconfirmed !== undefined,
    declaredRecovery: record.declared,
    conflict: record.conflict && {
      major: record.conflict.major,
      tick: record.conflict.tick,
      knownDigest: record.conflict.knownDigest,
      offeredDigest: record.conflict.offeredDigest,
    },
    terminated: record.terminated !== undefined,
  };
}

function recordText({ record, ownerSessionVoid }: FoundAgent, hosts: readonly Host[]): string[] {
  const reason = reasonOf(record);
  const rows: [string, string][] = [
    ["Agent", record.agentId],
    ["Name", record.name],
    ["State", reason === "" ? stateOf(record) : `${stateOf(record)} (${reason})`],
    ["Owner", `${nameOf(hosts, record.owner?.hostId)}${ownerSessionVoid ? ", whose session has ended" : ""}`],
    ["Epoch", `era ${record.era}, major ${record.major}, revision ${record.revision}`],
  ];
  const { head, handoff, conflict } = record;
  if (head !== undefined) {
    rows.push(["Head", `major ${head.major}, tick ${head.tick}, ${hex(head.digest)}`]);
  }
  if (handoff !== undefined) rows.push(["Handoff", `to ${nameOf(hosts, handoff.targetHostId)}, ${handoff.id}`]);
  if (record.unconfirmed !== undefined) rows.push(["Base", `not confirmed yet: tick ${record.unconfirmed.tick}`]);
  if (conflict !== undefined) {
    const both = `${hex(conflict.knownDigest)} and ${hex(conflict.offeredDigest)}`;
    rows.push(["Conflict", `two checkpoints of major ${conflict.major}, tick ${conflict.tick}: ${both}`]);
  }
  return rows.map(([title, value]) => `${`${title}:`.padEnd(10)}${value}`);
}

function statusText(status: AgentStatus): string[] {
  const waits = status.reason === "" ? "" : ` (${status.reason})`;
  const checkpoint = status.checkpoint === undefined ? "none" : `tick ${status.checkpoint.tick}`;
  return [
    `Local status: ${status.state}${waits}`,
    `  tick ${status.tick}, last outcome ${status.lastOutcome || "-"}, ${status.failedTicksInARow} failed in a row`,
    `  run again and the same up to tick ${status.verifiedTick}, ${status.divergences} divergences`,
    `  budget ${formatBudget(status.budget)} at ${formatPrice(status.pricePerSecond)}`,
    `  state ${status.stateBytes} bytes, newest checkpoint ${checkpoint}, module ${hex(status.moduleDigest)}`,
  ];
}

function holdersJson({ holders }: FoundAgent, hosts: readonly Host[]) {
  return holders.map(({ session, checkpoint }) => ({
    hostId: session?.hostId,
    host: nameOf(hosts, session?.hostId),
    bootId: session?.bootId,
    major: checkpoint?.major,
    tick: checkpoint?.tick,
    digest: checkpoint?.digest,
  }));
}

function holdersText(found: FoundAgent, hosts: readonly Host[]): string[] {
  const rows = holdersJson(found, hosts);
  if (rows.length === 0) return ["Holders: none"];
  return rows.map(({ host, major, tick }, index) => {
    return `${index === 0 ? "Holders: " : "         "}${host}, major ${major}, tick ${tick}`;
  });
}

function historyJson(entry: HistoryEntry, hosts: readonly Host[]) {
  return {
    atUnixNs: entry.atUnixNs,
    command: entry.command,
    era: entry.era,
    major: entry.major,
    state: stateOf(entry),
    ownerHostId: entry.owner?.hostId,
    owner: nameOf(hosts, entry.owner?.hostId),
    tick: entry.tick,
    note: entry.note,
  };
}

function historyText(entries: readonly HistoryEntry[], hosts: readonly Host[]): string[] {
  if (entries.length === 0) return ["History: none"];
  const columns = [
    { title: "AT", value: (entry: HistoryEntry) => formatTime(entry.atUnixNs) },
    { title: "COMMAND", value: (entry: HistoryEntry) => entry.command },
    { title: "MAJOR", value: (entry: HistoryEntry) => `${entry.major}`, align: "right" },
    { title: "TICK", value: (entry: HistoryEntry) => `${entry.tick}`, align: "right" },
    { title: "STATE", value: (entry: HistoryEntry) => stateOf(entry) },
    { title: "OWNER", value: (entry: HistoryEntry) => nameOf(hosts, entry.owner?.hostId) },
    { title: "NOTE", value: (entry: HistoryEntry) => entry.note },
  ] as const;
  return ["History, newest first:", ...table(columns, entries).map((line) => `  ${line}`)];
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").slice(0, 16);
}
