import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentStatus } from "@godwit/proto/godwit/host/v1/host";
import { FaultProxy } from "../net/fault-proxy.ts";
import { freePort } from "../net/free-port.ts";
import type { ClusterNode } from "./cluster-node.ts";
import { HostNode, type HostProxies, PricingNode, RegistryNode } from "./nodes.ts";
import { type ServiceName, serviceEntry } from "./service-entry.ts";
import type { RunOptions } from "./upload.ts";
import { type WaitRules, waitFor } from "./wait-for.ts";

// A cluster of real processes: the built services, each with its own data directory, all on free ports of 127.0.0.1.
//
// CL-1  Whatever was started here is gone when the cluster is disposed of, also when a start or a test failed half-way.
// CL-2  A service is configured through its environment alone, as in production. The names of the variables are in this file.

type Env = Readonly<Record<string, string>>;

export interface ClusterOptions {
  /** The registries share this Redis instead of having an embedded store. */
  readonly redisUrl?: string;
  /** For every process; what a single one is given wins. */
  readonly env?: Env;
  /** Data directories go here, and stay. A temporary directory, removed at the end, when unset. */
  readonly dir?: string;
  /** main.js files to run instead of this repository's builds: other versions, for example. */
  readonly entries?: Partial<Readonly<Record<ServiceName, string>>>;
}

export interface RegistryOptions {
  /** "registry" when unset; several registries need several names. */
  readonly name?: string;
  readonly env?: Env;
}

export interface HostOptions {
  readonly name: string;
  /** Whole microcents a second. */
  readonly price?: bigint;
  readonly capabilities?: readonly string[];
  readonly env?: Env;
  /** Puts a FaultProxy in between; the node has it as `proxies`. */
  readonly proxied?: readonly ("p2p" | "registry")[];
}

const TAIL_LINES = 25;

export class Cluster implements AsyncDisposable {
  readonly dir: string;
  readonly #options: ClusterOptions;
  readonly #registries: RegistryNode[] = [];
  readonly #hosts = new Map<string, HostNode>();
  #pricing: PricingNode | undefined;
  readonly #over = new AbortController();

  /** Makes the directory; nothing is started yet. */
  static async create(options: ClusterOptions = {}): Promise<Cluster> {
    return new Cluster(options.dir ?? (await mkdtemp(join(tmpdir(), "godwit-cluster-"))), options);
  }

  private constructor(dir: string, options: ClusterOptions) {
    this.dir = dir;
    this.#options = options;
  }

  /** The first one. */
  get registry(): RegistryNode {
    const [first] = this.#registries;
    if (first === undefined) throw new Error("no registry was started");
    return first;
  }

  get registries(): readonly RegistryNode[] {
    return this.#registries;
  }

  get pricing(): PricingNode {
    if (this.#pricing === undefined) throw new Error("no pricing was started");
    return this.#pricing;
  }

  get hosts(): readonly HostNode[] {
    return [...this.#hosts.values()];
  }

  host(name: string): HostNode {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}: there are ${[...this.#hosts.keys()].join(", ")}`);
    return host;
  }

  async startRegistry({ name = "registry", env = {} }: RegistryOptions = {}): Promise<RegistryNode> {
    const { redisUrl } = this.#options;
    // Replicas of one store sign with one key.
    const shared = { GODWIT_REDIS: redisUrl ?? "", GODWIT_KEY: join(this.dir, "registry.key") };
    const common = await this.#common(name, env, redisUrl === undefined ? {} : shared);
    const node = new RegistryNode({ ...common, entry: this.#entry("registry") });
    this.#registries.push(node);
    await node.start();
    return node;
  }

  async startPricing({ env = {} }: { readonly env?: Env } = {}): Promise<PricingNode> {
    const node = new PricingNode({ ...(await this.#common("pricing", env, {})), entry: this.#entry("pricing") });
    this.#pricing = node;
    await node.start();
    return node;
  }

  /** Registries and pricing that it is to use have to be started before. */
  async startHost({ name, price, capabilities, env = {}, proxied = [] }: HostOptions): Promise<HostNode> {
    if (this.#hosts.has(name)) throw new Error(`there is a host ${name} already`);
    const p2pPort = await freePort();
    const proxies = await this.#proxies(proxied, p2pPort);
    const registries = proxies.registry?.address ?? targetOf(this.#registries);
    const common = await this.#common(name, env, {
      GODWIT_NAME: name,
      GODWIT_REGISTRY: registries,
      GODWIT_P2P_LISTEN: multiaddr(p2pPort),
      ...(proxies.p2p === undefined ? {} : { GODWIT_P2P_ANNOUNCE: multiaddr(proxies.p2p.port) }),
      ...(this.#pricing === undefined ? {} : { GODWIT_PRICING: this.#pricing.grpcAddress }),
      ...(price === undefined ? {} : { GODWIT_PRICE: String(price) }),
      // A variable that is set to nothing counts as not set; a comma is the empty list.
      ...(capabilities === undefined ? {} : { GODWIT_CAPABILITIES: capabilities.join(",") || "," }),
    });
    const node = new HostNode({ ...common, entry: this.#entry("agent-host"), p2pPort, proxies });
    this.#hosts.set(name, node);
    await node.start();
    return node;
  }

  /** Uploads the module to that host and runs it there. */
  runAgent(host: HostNode, wasmPath: string, options: RunOptions): Promise<AgentStatus> {
    return host.runAgent(wasmPath, options, this.#over.signal);
  }

  /** See `waitFor`; its error comes with the last lines of every process. */
  waitFor<T>(
    predicate: (signal: AbortSignal) => T | Promise<T>,
    rules: WaitRules,
  ): Promise<Exclude<T, undefined | false>> {
    const signal = rules.signal === undefined ? this.#over.signal : AbortSignal.any([rules.signal, this.#over.signal]);
    return waitFor(predicate, { evidence: () => this.evidence(), ...rules, signal });
  }

  /** The last lines of every process. */
  evidence(): string {
    return this.#nodes()
      .map((node) => node.evidence(TAIL_LINES))
      .join("\n");
  }

  /** Hosts first, so that they can still close their sessions. */
  async stop(): Promise<void> {
    this.#over.abort(new Error("the cluster was stopped"));
    const left: unknown[] = [];
    const services = [...this.#registries, ...(this.#pricing === undefined ? [] : [this.#pricing])];
    for (const group of [this.hosts, services]) {
      const ended = await Promise.allSettled(group.map((node) => node[Symbol.asyncDispose]()));
      left.push(...ended.filter((result) => result.status === "rejected").map((result) => result.reason));
    }
    if (this.#options.dir === undefined) await rm(this.dir, { recursive: true, force: true });
    if (left.length > 0) throw new AggregateError(left, "the cluster did not stop cleanly");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #entry(service: ServiceName): string {
    return this.#options.entries?.[service] ?? serviceEntry(service);
  }

  #nodes(): readonly ClusterNode[] {
    return [...this.#registries, ...(this.#pricing === undefined ? [] : [this.#pricing]), ...this.#hosts.values()];
  }

  async #common(name: string, own: Env, variables: Env) {
    const [grpcPort, opsPort] = await Promise.all([freePort(), freePort()]);
    const dataDir = join(this.dir, name);
    const env = {
      GODWIT_DATA: dataDir,
      GODWIT_GRPC_LISTEN: `127.0.0.1:${grpcPort}`,
      GODWIT_OPS_LISTEN: `127.0.0.1:${opsPort}`,
      GODWIT_ALLOW_CRASH_POINTS: "true",
      ...variables,
      ...this.#options.env,
      ...own,
    };
    return { name, dataDir, grpcPort, opsPort, env, signal: this.#over.signal };
  }

  async #proxies(proxied: readonly ("p2p" | "registry")[], p2pPort: number): Promise<HostProxies> {
    const registryPort = () => Number(this.registry.grpcAddress.split(":")[1]);
    return {
      ...(proxied.includes("p2p") ? { p2p: await FaultProxy.start({ targetPort: p2pPort }) } : {}),
      ...(proxied.includes("registry") ? { registry: await FaultProxy.start({ targetPort: registryPort() }) } : {}),
    };
  }
}

/** One address as it is; gRPC takes several only under the scheme of their kind. */
function targetOf(registries: readonly RegistryNode[]): string {
  const addresses = registries.map(({ grpcAddress }) => grpcAddress);
  return addresses.length > 1 ? `ipv4:${addresses.join(",")}` : addresses.join();
}

function multiaddr(port: number): string {
  return `/ip4/127.0.0.1/tcp/${port}`;
}
