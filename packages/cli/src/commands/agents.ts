// What an operator may say about one agent: recover, stop.

import { argument, option } from "@godwit/common/config";
import { Fault } from "@godwit/common/fault";
import { defineCommand } from "../command.ts";
import { type Choice, type Chosen, forceRecover } from "../operations/force-recover.ts";
import { findHost, type Host, knownHost } from "../operations/hosts.ts";
import { type FoundAgent, findAgent, ownerHost } from "../operations/records.ts";
import type { Output } from "../print/output.ts";
import { statusJson } from "../print/status.ts";
import type { Session } from "../session.ts";

const AGENT = argument.required("The agent: id, prefix or name.");

export const recover = defineCommand({
  name: "recover",
  summary: "Makes a host take an agent up again, from the newest checkpoint that it holds.",
  details:
    "The owner's host if that lives, else the live host with the newest checkpoint, unless --on names another. With --force " +
    "you decide from which checkpoint it goes on: after a conflict, or where no acceptable one is left.",
  options: {
    on: option.text({ optional: true, help: "The host to recover it: name, id or prefix." }),
    force: option.flag({ help: "Give up every other checkpoint. Needs --reason." }),
    checkpoint: option.text({
      optional: true,
      pattern: /^[0-9a-f]{4,64}$/,
      expected: "the beginning of a checkpoint's digest: 4 to 64 lower-case hex digits",
      help: "With --force: the checkpoint; else the newest that is held. godwit describe and evidence show digests.",
    }),
    reason: option.text({ optional: true, help: "With --force: why, for the agent's history." }),
    operator: option.text({ optional: true, help: "With --force: who decides; your user name if it is not given." }),
  },
  arguments: { agent: AGENT },
  timeoutMs: 30_000,
  run: async ({ options, arguments: { agent }, session, output, surroundings }) => {
    const named = options.on === undefined ? undefined : await findHost(session, options.on);
    const choice = choiceOf({ ...options, agent, on: named }, surroundings.env["USER"]);
    const { agentId, host } =
      choice === undefined
        ? await recoverable(session, agent, named)
        : announced(output, await forceRecover(session, choice));
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

/** `undefined` without --force. Throws Fault INVALID_ARGUMENT for one that does not say why. */
function choiceOf(
  {
    agent,
    on,
    force,
    checkpoint,
    reason,
    operator,
  }: Omit<Choice, "operator" | "reason"> & {
    readonly force: boolean;
    readonly reason: string | undefined;
    readonly operator: string | undefined;
  },
  user: string | undefined,
): Choice | undefined {
  if (!force) {
    if (checkpoint === undefined && reason === undefined && operator === undefined) return undefined;
    const problem =
      "--checkpoint, --reason and --operator belong to --force, which gives up every other checkpoint: add it, or leave them out";
    throw new Fault({ code: "INVALID_ARGUMENT", field: "--force", reason: problem });
  }
  if (reason === undefined || reason.trim() === "") {
    throw new Fault({ code: "INVALID_ARGUMENT", field: "--reason", reason: "say why, for the agent's history" });
  }
  return { agent, on, checkpoint, reason, operator: operator ?? user ?? "unknown" };
}

/** Says what was chosen before the host is asked, since that stays so whatever becomes of the rest. */
function announced(output: Output, { agentId, head, host, major }: Chosen) {
  const checkpoint = `tick ${head.tick} (${head.digest.slice(0, 12)})`;
  output.note(`${checkpoint} was chosen, under major ${major}; ${host.name} is asked to recover the agent`);
  return { agentId, host };
}

async function recoverable(session: Session, agent: string, named: Host | undefined) {
  const found = await findAgent(session, agent);
  return { agentId: found.record.agentId, host: named ?? (await recoverer(session, found)) };
}

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
