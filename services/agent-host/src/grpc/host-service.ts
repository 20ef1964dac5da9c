// HostService: what operators and the CLI ask of one host.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import { remainingMs } from "@godwit/common/lease";
import { MAX_MICROCENTS } from "@godwit/common/money";
import { type ServedService, type ServiceHandlers, serve } from "@godwit/grpc";
import { fundingIdFromBytes, toProtoSigned } from "@godwit/lineage";
import type { MigrateAgentResponseSchema } from "@godwit/proto/godwit/host/v1/host";
import {
  type AgentStatus,
  HostService,
  type MigrateAgentRequest,
  type MigrateAgentResponse,
} from "@godwit/proto/godwit/host/v1/host";
import type { Funder } from "../agents/funder.ts";
import type { Roster } from "../agents/roster.ts";
import type { Supervisor } from "../agents/supervisor.ts";
import type { SessionKeeper } from "../registry/session-keeper.ts";
import type { DataDirectory } from "../storage/index.ts";
import { statusOfHeld, statusOfRunning } from "./agent-status.ts";
import { readUpload } from "./upload.ts";

export interface ConnectedPeer {
  readonly hostId: string;
  readonly address: string;
  readonly inbound: boolean;
}

export interface HostServiceParts {
  readonly roster: Roster;
  readonly funder: Funder;
  readonly keeper: SessionKeeper;
  readonly storage: DataDirectory;
  readonly migrate: (
    agentId: string,
    request: MigrateAgentRequest,
    signal: AbortSignal,
  ) => AsyncIterable<MessageInitShape<typeof MigrateAgentResponseSchema>>;
  /** Times that an agent's ticks came out differently here when they were run again. */
  readonly divergences: (agentId: string) => number;
  readonly connectedPeers: () => readonly ConnectedPeer[];
  readonly addresses: () => readonly string[];
  readonly price: { get(): bigint; set(price: bigint): Promise<void> };
}

export interface HostServiceRules {
  readonly hostId: string;
  readonly name: string;
  readonly capabilities: readonly string[];
  readonly version: string;
  readonly maxModuleBytes: number;
}

const maxTail = 1_000;

export function hostService(parts: HostServiceParts, rules: HostServiceRules): ServedService {
  const { roster, keeper, storage } = parts;

  const statusOf = (running: Supervisor): AgentStatus =>
    statusOfRunning(running, {
      hostId: rules.hostId,
      price: parts.price.get(),
      divergences: parts.divergences(running.identity.agentId),
    });

  const status = async (agentId: string): Promise<AgentStatus> => {
    const running = roster.supervisor(agentId);
    if (running !== undefined) return statusOf(running);
    const agent = storage.agent(agentId);
    if (agent === undefined) throw new Fault({ code: "AGENT_UNKNOWN", agentId });
    return await statusOfHeld(agent, rules.hostId, (id) => storage.latestCheckpoint(id));
  };

  const handlers: ServiceHandlers<typeof HostService> = {
    describeHost: () => {
      const remaining = Math.floor(remainingMs(keeper.lease, keeper.reading()));
      return {
        hostId: rules.hostId,
        name: rules.name,
        addresses: [...parts.addresses()],
        capabilities: [...rules.capabilities],
        pricePerSecond: parts.price.get(),
        bootId: keeper.current?.id.bootId ?? "",
        leaseValid: keeper.current !== undefined && remaining > 0,
        leaseRemainingMs: remaining,
        agents: roster.size,
        version: rules.version,
      };
    },

    async runAgent(requests, { signal }) {
      const spec = await readUpload(requests, rules.maxModuleBytes);
      return { agent: await status(await roster.run(spec, signal)) };
    },

    async listAgents({ includeReplicas }) {
      const running = [...roster.supervisors].map((supervisor) => statusOf(supervisor));
      if (!includeReplicas) return { agents: running };
      const held = storage.agents().filter(({ agentId }) => roster.supervisor(agentId) === undefined);
      return { agents: [...running, ...(await Promise.all(held.map(({ agentId }) => status(agentId))))] };
    },

    async getAgent({ agentId }) {
      return { agent: await status(roster.find(agentId)) };
    },

    async stopAgent({ agentId: prefix, delete: gone }) {
      const agentId = roster.find(prefix);
      const supervisor = roster.supervisor(agentId);
      if (supervisor === undefined) throw new Fault({ code: "AGENT_NOT_HERE", agentId });
      await supervisor.stop(gone ? "terminated" : "stopped");
      // A deleted agent leaves nothing behind to describe.
      return storage.agent(agentId) === undefined ? {} : { agent: await status(agentId) };
    },

    async *migrateAgent(request, { signal }) {
      yield* parts.migrate(roster.find(request.agentId), request, signal);
    },

    async recoverAgent({ agentId: prefix }, { signal }) {
      const agentId = roster.find(prefix);
      await roster.recover(agentId, signal);
      return { agent: await status(agentId) };
    },

    async fundAgent({ agentId: prefix, fundingId, amount }, { signal }) {
      const agentId = roster.find(prefix);
      const { tick = 0n, repeated } = await parts.funder.fund(
        agentId,
        { id: fundingIdFromBytes(fundingId), amount },
        signal,
      );
      return { agent: await status(agentId), tick, repeated };
    },

    getPrice: () => ({ hostId: rules.hostId, pricePerSecond: parts.price.get() }),

    async setPrice({ pricePerSecond }) {
      if (pricePerSecond > MAX_MICROCENTS) {
        throw new Fault({
          code: "INVALID_ARGUMENT",
          field: "price",
          reason: `give at most ${MAX_MICROCENTS} microcents`,
        });
      }
      await parts.price.set(pricePerSecond);
      return { pricePerSecond };
    },

    async *followLogs({ agentId: prefix, tail, follow }, { signal }) {
      const book = roster.logs(roster.find(prefix));
      const lines = follow ? book.follow(Math.min(tail, maxTail), signal) : book.tail(Math.min(tail, maxTail));
      for await (const { at, ...line } of lines) yield { ...line, atUnixNs: BigInt(at.getTime()) * 1_000_000n };
    },

    connectedPeers: () => ({ peers: parts.connectedPeers().map((peer) => ({ ...peer })) }),

    async *getLineage({ agentId: prefix }) {
      const agentId = roster.find(prefix);
      // What an operator's choice gave up is shown, too: it is signed, so it tells who signed it.
      const shown = [...(await storage.headers(agentId)), ...(await storage.orphans(agentId))];
      for (const header of shown) yield { header: toProtoSigned(header) };
    },
  };
  return serve(HostService, handlers);
}

export type MigrationProgress = MessageInitShape<typeof MigrateAgentResponseSchema>;
export type { MigrateAgentResponse };
