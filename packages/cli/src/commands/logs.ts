import { untilAborted } from "@godwit/common/clock";
import { argument, option } from "@godwit/common/config";
import { isFault } from "@godwit/common/fault";
import type { FollowLogsResponse } from "@godwit/proto/godwit/host/v1/host";
import { clock, defineCommand } from "../command.ts";
import type { Host } from "../operations/hosts.ts";
import { findAgent, ownerHost } from "../operations/records.ts";
import { formatTime } from "../print/format.ts";
import { toJson } from "../print/json.ts";
import type { Session } from "../session.ts";

const OWNER_LOOK_MS = 2_000;
/** Lines of before, on the next host, among which are those that were printed already. */
const OVERLAP_LINES = 100;

export const logs = defineCommand({
  name: "logs",
  summary: "Prints what an agent logged, and what its host says about it.",
  details: "With --follow, on every host to which it moves.",
  options: {
    follow: option.flag({ short: "f", help: "Go on until interrupted." }),
    lines: option.integer({ short: "n", fallback: 20, min: 0, max: 1_000, help: "How many lines of before." }),
  },
  arguments: { agent: argument.required("The agent: id, prefix or name.") },
  run: async ({ options: { follow, lines }, arguments: { agent }, session, output, surroundings: { terminal } }) => {
    const { record } = await findAgent(session, agent);
    const print = (host: Host, line: FollowLogsResponse) => {
      const { atUnixNs, major, tick, origin } = line;
      const json = { atUnixNs, host: host.name, hostId: host.hostId, major, tick, origin, line: line.line };
      const text = `${formatTime(atUnixNs)}  ${host.name}  ${major}:${tick}  ${origin === "agent" ? "" : `[${origin}] `}${line.line}`;
      terminal.out(`${output.format === "json" ? toJson(json) : text}\n`);
    };
    await printLogs(session, { agentId: record.agentId, lines, follow, print });
    return undefined;
  },
});

interface LogsRequest {
  readonly agentId: string;
  readonly lines: number;
  readonly follow: boolean;
  readonly print: (host: Host, line: FollowLogsResponse) => void;
}

async function printLogs(session: Session, { agentId, lines, follow, print }: LogsRequest): Promise<void> {
  let printed = 0n; // time of the newest line: no line is printed twice
  for (let host = await currentOwner(session, agentId), tail = lines; ; tail = OVERLAP_LINES) {
    const moved = new AbortController();
    const signal = AbortSignal.any([session.signal, moved.signal]);
    const watching = follow ? watchOwner(session, { agentId, host, moved }) : undefined;
    try {
      const request = { agentId, tail, follow };
      const timeoutMs = follow ? Number.POSITIVE_INFINITY : session.timeoutMs;
      for await (const line of session.host(host.grpcAddress).followLogs(request, { signal, timeoutMs })) {
        if (line.atUnixNs <= printed) continue;
        printed = line.atUnixNs;
        print(host, line);
      }
    } catch (error) {
      session.signal.throwIfAborted();
      // When it is followed, a host that goes away is no end: the agent goes on elsewhere, or there again.
      if (!follow || !(moved.signal.aborted || isFault(error))) throw error;
    } finally {
      moved.abort();
      await watching;
    }
    if (!follow) return;
    await clock.sleep(OWNER_LOOK_MS, session.signal);
    host = (await ownerOrUndefined(session, agentId)) ?? host;
  }
}

/** Aborts `moved` when another host owns the agent. Ends when `moved` is aborted. */
async function watchOwner(
  session: Session,
  { agentId, host, moved }: { readonly agentId: string; readonly host: Host; readonly moved: AbortController },
): Promise<void> {
  const signal = AbortSignal.any([session.signal, moved.signal]);
  try {
    for (;;) {
      await clock.sleep(OWNER_LOOK_MS, signal);
      const owner = await untilAborted(signal, () => ownerOrUndefined(session, agentId));
      if (owner !== undefined && owner.hostId !== host.hostId) return moved.abort();
    }
  } catch {
    // Over: the stream has ended, or the user interrupted.
  }
}

async function currentOwner(session: Session, agentId: string): Promise<Host> {
  return await ownerHost(session, await findAgent(session, agentId));
}

/** Undefined while nobody can say, or nobody owns it. */
async function ownerOrUndefined(session: Session, agentId: string): Promise<Host | undefined> {
  try {
    return await currentOwner(session, agentId);
  } catch (error) {
    session.signal.throwIfAborted();
    if (isFault(error)) return undefined;
    throw error;
  }
}
