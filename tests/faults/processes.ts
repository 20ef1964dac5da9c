// Two hosts and a registry as processes, which are killed, frozen and cut off, and one agent between them.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { ServiceClient } from "@godwit/grpc";
import type { AgentStatus, HostService } from "@godwit/proto/godwit/host/v1/host";
import { Cluster, type HostNode, type HostOptions, type RunOptions, waitFor } from "@godwit/testing";
import { type JudgedHost, move, type Settled, settle } from "./judge.ts";

export interface Lease {
  readonly duration: string;
  readonly grace: string;
}

/** No stall costs a session. */
export const longLease: Lease = { duration: "300s", grace: "2s" };

export interface CompanyRules {
  readonly lease: Lease;
  /** The store; an embedded one when unset. */
  readonly redisUrl?: string;
  readonly registryEnv?: Readonly<Record<string, string>>;
  readonly hostEnv?: Readonly<Record<string, string>>;
  readonly proxied?: HostOptions["proxied"];
}

const budget = 1_000_000_000_000n;
const built = (path: string) => fileURLToPath(new URL(`../../agents/${path}`, import.meta.url));
const wasm = built("survivor/build/survivor.wasm");
const evidenceLines = 15;

export class ProcessHost implements JudgedHost {
  readonly node: HostNode;

  constructor(node: HostNode) {
    this.node = node;
  }

  get name(): string {
    return this.node.name;
  }

  get hostId(): string {
    return this.node.hostId;
  }

  get host(): ServiceClient<typeof HostService> {
    return this.node.host;
  }

  agent(agentId: string, signal?: AbortSignal): Promise<AgentStatus | undefined> {
    return this.node.agent(agentId, signal);
  }

  async staged(signal?: AbortSignal): Promise<number> {
    const answer = await fetch(`${this.node.opsUrl}/metrics`, { signal: signal ?? null });
    const [, count] = /^agent_host_staged_handoffs (\d+)$/m.exec(await answer.text()) ?? [];
    if (count === undefined) throw new Error(`${this.name} does not say how many handoffs are staged`);
    return Number(count);
  }

  /** SIGSTOP has arrived: at a crash point, for example. */
  async isStopped(): Promise<boolean> {
    return isStopped(this.node.pid);
  }
}

export async function isStopped(pid: number | undefined): Promise<boolean> {
  if (pid === undefined) return false;
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
}

export class Company implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly hosts: readonly [ProcessHost, ProcessHost];
  readonly #signal: AbortSignal;
  #agents = 0;

  static async start(rules: CompanyRules, signal: AbortSignal): Promise<Company> {
    const { lease, redisUrl, registryEnv = {}, hostEnv = {}, proxied = [] } = rules;
    const cluster = await Cluster.create(redisUrl === undefined ? {} : { redisUrl });
    try {
      await cluster.startRegistry({
        env: {
          GODWIT_LEASE_DURATION: lease.duration,
          GODWIT_LEASE_GRACE: lease.grace,
          GODWIT_RENEW_EVERY: "1s",
          GODWIT_LOOK_EVERY: "200ms",
          GODWIT_OFFER_SCAN_EVERY: "1s",
          GODWIT_LOG_LEVEL: "info",
          ...registryEnv,
        },
      });
      const env = {
        GODWIT_TICK_EVERY: "20ms",
        GODWIT_TICK_TIMEOUT: "20s",
        GODWIT_CHECKPOINT_EVERY: "200ms",
        GODWIT_REGISTRY_TIMEOUT: "3s",
        // The data directories are never copied, so who restarts need not wait for its earlier session (GA-5).
        GODWIT_TRUST_DATA_LOCK: "true",
        ...hostEnv,
      };
      const start = async (name: string) => new ProcessHost(await cluster.startHost({ name, env, proxied }));
      return new Company(cluster, await Promise.all([start("a"), start("b")]), signal);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  private constructor(cluster: Cluster, hosts: readonly [ProcessHost, ProcessHost], signal: AbortSignal) {
    this.cluster = cluster;
    this.hosts = hosts;
    this.#signal = signal;
  }

  get registry() {
    return this.cluster.registry;
  }

  newName(): string {
    return `survivor-${++this.#agents}`;
  }

  /** Of the agent that `run` makes. */
  async options(name: string): Promise<RunOptions> {
    const manifest = JSON.parse(await readFile(built("survivor/build/survivor.manifest.json"), "utf8")) as object;
    return { name, budget, manifest };
  }

  async run(host: ProcessHost, name: string): Promise<string> {
    return (await host.node.runAgent(wasm, await this.options(name), this.#signal)).agentId;
  }

  /** Another agent instead of this one: the lineage of each is verified after each fault, and is not to become long. */
  async replace(agentId: string): Promise<string> {
    const { owner } = await this.settle(agentId);
    await owner.host.stopAgent({ agentId, delete: true }, { signal: this.#signal });
    return await this.run(owner, this.newName());
  }

  settle(agentId: string): Promise<Settled<ProcessHost>> {
    return settle({
      agentId,
      registry: this.registry,
      hosts: this.hosts,
      signal: this.#signal,
      evidence: () =>
        [this.registry, ...this.hosts.map(({ node }) => node)].map((node) => node.evidence(evidenceLines)).join("\n"),
    });
  }

  other(host: ProcessHost): ProcessHost {
    return this.hosts[0] === host ? this.hosts[1] : this.hosts[0];
  }

  /** Resolves when it is over, however it ended: who asked may die, and what is asked is what becomes of the agent. */
  async move(source: ProcessHost, agentId: string): Promise<void> {
    await move(source, agentId, { to: this.other(source), signal: this.#signal }).catch(() =>
      this.#signal.throwIfAborted(),
    );
  }

  /** False when it did not come true for as long as even a machine that has a lot to do would take. */
  async comes(what: string, come: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<boolean> {
    try {
      await waitFor(come, { what, timeoutMs, signal: this.#signal });
      return true;
    } catch (error) {
      this.#signal.throwIfAborted();
      if (error instanceof Error && error.message.startsWith(what)) return false;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster.stop();
  }
}
