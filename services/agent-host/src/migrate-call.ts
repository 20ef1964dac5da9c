// `MigrateAgent` as it is called: the request in, the story of the migration out.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import { checkRetryPolicy, type RetryPolicy } from "@godwit/common/retry";
import type { MigrateAgentRequest, MigrateAgentResponseSchema } from "@godwit/proto/godwit/host/v1/host";
import type { Roster } from "./agents/roster.ts";
import { SupervisedSource } from "./agents/source-agent.ts";
import type { HostMetrics } from "./metrics.ts";
import {
  failureText,
  type MigrationEvent,
  type MigrationRequest,
  type MigrationSource,
} from "./migration/migration-source.ts";
import type { DataDirectory } from "./storage/index.ts";

type Progress = MessageInitShape<typeof MigrateAgentResponseSchema>;

export interface MigrateCallParts {
  readonly roster: Roster;
  readonly storage: DataDirectory;
  readonly source: MigrationSource;
  readonly metrics: HostMetrics;
}

const defaultTimeoutMs = 120_000;
const maxTimeoutMs = 3_600_000;

export async function* migrateCall(
  parts: MigrateCallParts,
  policy: RetryPolicy,
  call: { readonly agentId: string; readonly request: MigrateAgentRequest; readonly signal: AbortSignal },
): AsyncGenerator<Progress> {
  const { agentId, request, signal } = call;
  const supervisor = parts.roster.supervisor(agentId);
  if (supervisor === undefined) throw new Fault({ code: "AGENT_NOT_HERE", agentId });
  const agent = new SupervisedSource(supervisor, parts.storage);
  await agent.load();
  for await (const event of parts.source.migrate(agent, requestOf(request, policy), signal)) {
    count(parts.metrics, event);
    yield progressOf(event, supervisor.tenancy.tenure.kind);
  }
}

function requestOf(request: MigrateAgentRequest, policy: RetryPolicy): MigrationRequest {
  const { targetHostId: hostId, allowFallback, timeoutMs, retries, retryDelayMs } = request;
  if (timeoutMs > maxTimeoutMs) {
    throw new Fault({ code: "INVALID_ARGUMENT", field: "timeout", reason: `give at most ${maxTimeoutMs} ms` });
  }
  const asked: RetryPolicy = {
    ...policy,
    ...(retries === 0 ? {} : { attempts: retries }),
    ...(retryDelayMs === 0 ? {} : { firstDelayMs: retryDelayMs }),
  };
  checkRetryPolicy(asked);
  return {
    aim:
      hostId === ""
        ? { kind: "any-candidate" }
        : { kind: "host", hostId, otherwise: allowFallback ? "candidates" : "give-up" },
    policy: asked,
    timeoutMs: timeoutMs === 0 ? defaultTimeoutMs : timeoutMs,
  };
}

function count(metrics: HostMetrics, event: MigrationEvent): void {
  if (event.kind === "given-up") metrics.migrations.inc({ outcome: "given-up" });
  if (event.kind !== "done") return;
  metrics.migrations.inc({ outcome: "moved" });
  if (event.blackoutMs !== undefined) metrics.blackoutSeconds.observe(event.blackoutMs / 1_000);
}

function progressOf(event: MigrationEvent, state: string): Progress {
  const { atMs } = event;
  switch (event.kind) {
    case "attempt":
      return {
        atMs,
        event: {
          case: "attempt",
          value: {
            targetHostId: event.hostId,
            attempt: event.attempt,
            pricePerSecond: event.pricePerSecond ?? 0n,
          },
        },
      };
    case "step":
      return { atMs, event: { case: "step", value: { step: event.step, note: event.note } } };
    case "attempt-failed": {
      const { hostId: targetHostId, failure, backOffMs } = event;
      const { class: failureClass, fault } = failure;
      const value = { targetHostId, failureClass, code: fault.code, message: failureText(failure), backOffMs };
      return { atMs, event: { case: "attemptFailed", value } };
    }
    case "done": {
      const { hostId: targetHostId, era, major, tick, blackoutMs, bytesAfterFreeze } = event;
      const figures = { blackoutMs: blackoutMs ?? 0, totalMs: atMs, bytesAfterFreeze: BigInt(bytesAfterFreeze) };
      return { atMs, event: { case: "done", value: { targetHostId, era, major, tick, ...figures } } };
    }
    case "given-up":
      return {
        atMs,
        event: {
          case: "givenUp",
          value: { code: event.failure.fault.code, message: failureText(event.failure), state },
        },
      };
  }
}
