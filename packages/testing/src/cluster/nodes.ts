import { client, type ServiceClient } from "@godwit/grpc";
import { type AgentStatus, HostService } from "@godwit/proto/godwit/host/v1/host";
import { PricingService } from "@godwit/proto/godwit/pricing/v1/pricing";
import { AuthorityService } from "@godwit/proto/godwit/registry/v1/authority";
import { DirectoryService } from "@godwit/proto/godwit/registry/v1/directory";
import { SessionService } from "@godwit/proto/godwit/registry/v1/session";
import type { FaultProxy } from "../net/fault-proxy.ts";
import { ClusterNode, type NodeSpec } from "./cluster-node.ts";
import { type RunOptions, uploadFrames } from "./upload.ts";

export class RegistryNode extends ClusterNode {
  readonly sessions: ServiceClient<typeof SessionService>;
  readonly authority: ServiceClient<typeof AuthorityService>;
  readonly directory: ServiceClient<typeof DirectoryService>;

  constructor(spec: NodeSpec) {
    super(spec);
    this.sessions = client(this.channel, SessionService);
    this.authority = client(this.channel, AuthorityService);
    this.directory = client(this.channel, DirectoryService);
  }
}

export class PricingNode extends ClusterNode {
  readonly pricing: ServiceClient<typeof PricingService>;

  constructor(spec: NodeSpec) {
    super(spec);
    this.pricing = client(this.channel, PricingService);
  }
}

export interface HostNodeSpec extends NodeSpec {
  readonly p2pPort: number;
  readonly proxies: HostProxies;
}

/** Where a test can break a host's network; there only if it was asked for. */
export interface HostProxies {
  /** Between other hosts and this one's libp2p. */
  readonly p2p?: FaultProxy;
  /** Between this host and the registry. */
  readonly registry?: FaultProxy;
}

export class HostNode extends ClusterNode {
  readonly host: ServiceClient<typeof HostService>;
  readonly p2pPort: number;
  readonly proxies: HostProxies;
  #hostId: string | undefined;

  constructor(spec: HostNodeSpec) {
    super(spec);
    this.host = client(this.channel, HostService);
    this.p2pPort = spec.p2pPort;
    this.proxies = spec.proxies;
  }

  /** Its libp2p peer id. Throws before the first start has ended. */
  get hostId(): string {
    if (this.#hostId === undefined) throw new Error(`${this.name} has not been started yet`);
    return this.#hostId;
  }

  override async start(extraEnv?: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<void> {
    await super.start(extraEnv, signal);
    this.#hostId ??= (await this.host.describeHost({}, { signal })).hostId;
  }

  /** Uploads a module and runs it as an agent here. */
  async runAgent(wasmPath: string, options: RunOptions, signal?: AbortSignal): Promise<AgentStatus> {
    const { agent } = await this.host.runAgent(uploadFrames(wasmPath, options), { signal });
    if (agent === undefined) throw new Error(`${this.name} did not say which agent it runs`);
    return agent;
  }

  /** What this host says about an agent; undefined when it does not have it. */
  async agent(agentId: string, signal?: AbortSignal): Promise<AgentStatus | undefined> {
    const { agents } = await this.host.listAgents({ includeReplicas: true }, { signal });
    return agents.find((agent) => agent.agentId === agentId);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await Promise.all([this.proxies.p2p?.stop(), this.proxies.registry?.stop()]);
  }
}
