// A registry, a pricing service and hosts that answer over real gRPC what a test tells them to, and write down what they
// were asked. What no test needs is refused.

import { create, type DescService, type MessageInitShape } from "@bufbuild/protobuf";
import { systemClock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { GrpcServer, type ServedService, type ServiceHandlers, serve } from "@godwit/grpc";
import { type AgentStatusSchema, HostService } from "@godwit/proto/godwit/host/v1/host";
import { PricingService } from "@godwit/proto/godwit/pricing/v1/pricing";
import {
  type AuthorityRecord,
  AuthorityRecordSchema,
  AuthorityService,
} from "@godwit/proto/godwit/registry/v1/authority";
import { DirectoryService, type Host, HostSchema } from "@godwit/proto/godwit/registry/v1/directory";
import { SessionService } from "@godwit/proto/godwit/registry/v1/session";

type Handlers<S extends DescService> = Partial<ServiceHandlers<S>>;
type RecordInit = MessageInitShape<typeof AuthorityRecordSchema>;
type StatusInit = MessageInitShape<typeof AgentStatusSchema>;

export interface FakeHostSpec {
  readonly hostId: string;
  readonly name: string;
  readonly price?: bigint;
  readonly live?: boolean;
  readonly agents?: readonly StatusInit[];
  readonly handlers?: Handlers<typeof HostService>;
}

export interface FakeClusterSpec {
  readonly hosts: readonly FakeHostSpec[];
  readonly records?: readonly RecordInit[];
  readonly authority?: Handlers<typeof AuthorityService>;
  readonly directory?: Handlers<typeof DirectoryService>;
  readonly sessions?: Handlers<typeof SessionService>;
  readonly pricing?: Handlers<typeof PricingService>;
}

export class FakeCluster implements AsyncDisposable {
  readonly #servers: readonly GrpcServer[];
  readonly registry: string;
  readonly pricing: string;

  static async start(spec: FakeClusterSpec): Promise<FakeCluster> {
    const servers: GrpcServer[] = [];
    const listen = async (services: readonly ServedService[]): Promise<string> => {
      const onError = () => {};
      const server = new GrpcServer({ services, clock: systemClock, onError }, { host: "127.0.0.1", port: 0 });
      await server.start();
      servers.push(server);
      return server.address;
    };
    const hosts: Host[] = [];
    for (const host of spec.hosts) {
      const { agents = [], handlers = {}, hostId, name, price = 1_000n, live = true } = host;
      const grpcAddress = await listen([
        fill(HostService, {
          listAgents: () => ({ agents: agents.map((agent) => ({ hostId, ...agent })) }),
          ...handlers,
        }),
      ]);
      const info = { hostId, name, grpcAddress, pricePerSecond: price, capabilities: ["clock"] };
      hosts.push(create(HostSchema, { info, live, lastSeenUnixNs: 1_700_000_000_000_000_000n }));
    }
    const records = (spec.records ?? []).map((record) => create(AuthorityRecordSchema, record));
    const registry = await listen([
      fill(AuthorityService, { ...recordHandlers(records, hosts), ...spec.authority }),
      fill(DirectoryService, { ...hostHandlers(hosts), ...spec.directory }),
      fill(SessionService, { ...spec.sessions }),
    ]);
    const pricing = await listen([fill(PricingService, { ...spec.pricing })]);
    return new FakeCluster(servers, registry, pricing);
  }

  private constructor(servers: readonly GrpcServer[], registry: string, pricing: string) {
    this.#servers = servers;
    this.registry = registry;
    this.pricing = pricing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}

function recordHandlers(
  records: readonly AuthorityRecord[],
  hosts: readonly Host[],
): Handlers<typeof AuthorityService> {
  return {
    // In pages of one: whoever lists has to go on until there is no next page.
    listAgents: ({ pageToken }) => {
      const index = Number(pageToken || "0");
      const next = index + 1 < records.length ? String(index + 1) : "";
      return { records: records.slice(index, index + 1), nextPageToken: next };
    },
    getAgent: ({ agentId }) => {
      const matches = records.filter((record) => record.agentId.startsWith(agentId));
      const [record] = matches;
      if (record === undefined) throw new Fault({ code: "AGENT_UNKNOWN", agentId });
      if (matches.length > 1) {
        throw new Fault({ code: "AMBIGUOUS_ID", prefix: agentId, matches: matches.map((match) => match.agentId) });
      }
      const owner = hosts.find(({ info }) => info?.hostId === record.owner?.hostId);
      return { record, holders: [], ownerSessionVoid: owner?.live !== true };
    },
    getAgentHistory: () => ({ entries: [] }),
  };
}

function hostHandlers(hosts: readonly Host[]): Handlers<typeof DirectoryService> {
  return {
    listHosts: ({ pageToken }) => {
      const index = Number(pageToken || "0");
      const next = index + 1 < hosts.length ? String(index + 1) : "";
      return { hosts: hosts.slice(index, index + 1), nextPageToken: next };
    },
    getHost: ({ hostId }) => {
      const host = hosts.find(({ info }) => info?.hostId === hostId || info?.name === hostId);
      if (host === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId });
      return { host };
    },
  };
}

function fill<S extends DescService>(service: S, handlers: Handlers<S>): ServedService {
  const missing = (name: string) => () => {
    throw new Fault({ code: "INVALID_ARGUMENT", field: name, reason: "no test expects this call" });
  };
  const all = Object.fromEntries(service.methods.map(({ localName }) => [localName, missing(localName)]));
  return serve(service, { ...all, ...handlers } as ServiceHandlers<S>);
}
