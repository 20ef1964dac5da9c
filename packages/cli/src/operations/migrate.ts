import { Fault } from "@godwit/common/fault";
import type { MigrateAgentResponse } from "@godwit/proto/godwit/host/v1/host";
import type { Session } from "../session.ts";
import { findHost, type Host } from "./hosts.ts";
import { findAgent, ownerHost } from "./records.ts";

export interface MigrateRequest {
  readonly agent: string;
  /** Undefined: wherever the registry's candidates lead. */
  readonly to: string | undefined;
  /** With `to`: whether other candidates may follow when that cannot be used. */
  readonly allowFallback: boolean;
  /** For the whole migration. */
  readonly timeoutMs: number;
  /** Undefined: the host's own settings. */
  readonly retries: number | undefined;
  readonly retryDelayMs: number | undefined;
}

/** The source settles a migration that ran out of time; that takes a few more calls. */
const SETTLING_MS = 15_000;

export interface Migration {
  readonly agentId: string;
  readonly source: Host;
  /** Ends after `done` or `givenUp`. */
  readonly events: AsyncIterable<MigrateAgentResponse>;
}

export async function migrateAgent(session: Session, request: MigrateRequest): Promise<Migration> {
  const found = await findAgent(session, request.agent);
  const { agentId } = found.record;
  const source = await ownerHost(session, found);
  const target = request.to === undefined ? undefined : await findHost(session, request.to);
  if (target?.hostId === source.hostId) {
    const reason = `the agent runs on ${source.name} already: choose another host`;
    throw new Fault({ code: "INVALID_ARGUMENT", field: "--to", reason });
  }
  const events = session.host(source.grpcAddress).migrateAgent(
    {
      agentId,
      targetHostId: target?.hostId ?? "",
      allowFallback: request.allowFallback,
      timeoutMs: request.timeoutMs,
      retries: request.retries ?? 0,
      retryDelayMs: request.retryDelayMs ?? 0,
    },
    session.call(request.timeoutMs + SETTLING_MS),
  );
  return { agentId, source, events };
}
