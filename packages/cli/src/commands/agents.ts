// What an operator may say about one agent: recover, stop.

import { argument, option } from "@godwit/common/config";
import { Fault } from "@godwit/common/fault";
import { defineCommand } from "../command.ts";
import { findHost, type Host, knownHost } from "../operations/hosts.ts";
import { type FoundAgent, findAgent, ownerHost } from "../operations/records.ts";
import { statusJson } from "../print/status.ts";
import type { Session } from "../session.ts";

const AGENT = argument.required("The agent: id, prefix or name.");

export const recover = defineCommand({
  name: "recover",
  summary: "Makes a host take an agent up again, from the newest checkpoint that it holds.",
  details: "The owner's host if that lives, else the live host with the newest checkpoint, unless --on names another.",
  options: { on: option.text({ optional: true, help: "The host to recover it: name, id or prefix." }) },
  arguments: { agent: AGENT },
  timeoutMs: 30_000,
  run: async ({ options: { on }, arguments: { agent }, session, output }) => {
    const found = await findAgent(session, agent);
    const host = on === undefined ? await recoverer(session, found) : await findHost(session, on);
    const { agentId } = found.record;
    const { agent: status } = await session.host(host.grpcAddress).recoverAgent({ agentId }, session.call());
    if (status === undefined) throw nameless(host);
    output.result({ ...statusJson(status), host: host.name }, () => [
      `${status.name} is ${status.state} on ${host.name}, major ${status.major}, tick ${status.tick}`,
    ]);
    return undefined;
  },
});

export const stop = defineCommand({
  name: "stop",
  summary: "Stops an agent and keeps its state; recover takes it up again.",
  options: { delete: option.flag({ help: "Terminate it: it never runs again, anywhere." }) },
  arguments: { agent: AGENT },
  run: async ({ options, arguments: { agent }, session, output }) => {
    const found = await findAgent(session, agent);
    const host = await ownerHost(session, found);
    const { agentId } = found.record;
    const { agent: status } = await session
      .host(host.grpcAddress)
      .stopAgent({ agentId, delete: options.delete }, session.call());
    if (status === undefined) throw nameless(host);
    output.result({ ...statusJson(status), host: host.name }, () => [
      options.delete
        ? `${status.name} is gone for good, after tick ${status.tick}`
        : `${status.name} is ${status.state} after tick ${status.tick}; its state is on ${host.name}`,
    ]);
    return undefined;
  },
});

/** The owner's host if it lives; else the live holder of the newest checkpoint. Faults: NO_CANDIDATE. */
async function recoverer(session: Session, { record, holders }: FoundAgent): Promise<Host> {
  const ids = [record.owner?.hostId, ...holders.map(({ session: holder }) => holder?.hostId)];
  for (const id of ids) {
    const host = id === undefined ? undefined : await knownHost(session, id);
    if (host?.live === true) return host;
  }
  const reason = "no live host has announced a checkpoint of it: start one that has, or name one with --on";
  throw new Fault({ code: "NO_CANDIDATE", agentId: record.agentId, reason });
}

function nameless({ grpcAddress }: Host): Fault {
  const problem = { status: "INTERNAL", message: "the answer names no agent", target: grpcAddress };
  return new Fault({ code: "RPC_FAILED", ...problem });
}
