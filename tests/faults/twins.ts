// Two hosts in one process, their agents, and what both of them committed.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defaultMigrationTimeouts, type MigrationTimeouts } from "@godwit/agent-host/parts";
import { Cluster, type HistoryEvent, type RunOptions, waitFor } from "@godwit/testing";
import { type Settled, settle } from "./judge.ts";
import { TwinHost } from "./twin-host.ts";

export type AgentKind = "small" | "large";

const built = (path: string) => fileURLToPath(new URL(`../../agents/${path}`, import.meta.url));
const wasmOf = {
  small: built("survivor/build/survivor.wasm"),
  // Its state travels in frames of its own.
  large: built("ballast/build/ballast-1m.wasm"),
} as const;
const budget = 1_000_000_000_000n;
const manifest = {
  capabilities: { clock: { version: 1 }, rand: { version: 1 }, log: { version: 1 }, pricing: { version: 1 } },
  migration_policy: { enabled: true, max_price_per_second: 10_000 },
};

/** Waits are short, so that what is swallowed costs little; a machine on which they are too short gets longer ones. */
const shortWaits: MigrationTimeouts = {
  ...defaultMigrationTimeouts,
  connectMs: 1_500,
  acceptMs: 400,
  preparedMs: 800,
  startedMs: 500,
  partMs: 700,
  slowestBytesPerMs: 8_192,
  closeMs: 300,
};

/** No stall costs a session. */
const registryEnv = { GODWIT_LEASE_DURATION: "300s", GODWIT_RENEW_EVERY: "5s", GODWIT_LOG_LEVEL: "warn" };

/** The registry of the twins, as a process; disposing of it removes everything. */
export async function twinsRegistry(): Promise<Cluster> {
  const cluster = await Cluster.create();
  try {
    await cluster.startRegistry({ env: registryEnv });
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

export class Twins implements AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #hosts: readonly [TwinHost, TwinHost];
  readonly #signal: AbortSignal;
  readonly #timeouts: { -readonly [Name in keyof MigrationTimeouts]: MigrationTimeouts[Name] };
  #history: HistoryEvent[];
  #agents = 0;

  /** `name`: of their data directories, below the cluster's. */
  static async start(cluster: Cluster, name: string, signal: AbortSignal): Promise<Twins> {
    const timeouts = { ...shortWaits };
    const history: HistoryEvent[] = [];
    const common = {
      dir: cluster.dir,
      registry: cluster.registry.grpcAddress,
      timeouts,
      onCommitted: (event: HistoryEvent) => void history.push(event),
    };
    const one = await TwinHost.start({ ...common, name: `${name}-a` });
    try {
      const other = await TwinHost.start({ ...common, name: `${name}-b` });
      return new Twins({ cluster, hosts: [one, other], timeouts, history, signal });
    } catch (error) {
      await one[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(parts: {
    readonly cluster: Cluster;
    readonly hosts: readonly [TwinHost, TwinHost];
    readonly timeouts: MigrationTimeouts;
    readonly history: HistoryEvent[];
    readonly signal: AbortSignal;
  }) {
    this.#cluster = parts.cluster;
    this.#hosts = parts.hosts;
    this.#timeouts = parts.timeouts;
    this.#history = parts.history;
    this.#signal = parts.signal;
  }

  get hosts(): readonly TwinHost[] {
    return this.#hosts;
  }

  /** An agent that ticks on the first host. `unlike`: with a module that no host has seen. */
  async newAgent(kind: AgentKind, { unlike = false }: { readonly unlike?: boolean } = {}): Promise<string> {
    const [host] = this.#hosts;
    const name = `${kind}-${++this.#agents}`;
    const options: RunOptions = {
      name,
      budget,
      manifest: kind === "small" ? manifest : { migration_policy: { enabled: true } },
    };
    const agentId = await host.run(
      unlike ? await this.#unlike(wasmOf[kind], name) : wasmOf[kind],
      options,
      this.#signal,
    );
    await this.settle(agentId);
    return agentId;
  }

  /** Wherever it is: it is deleted, and what it did forgotten. */
  async end(agentId: string): Promise<void> {
    const { owner } = await this.settle(agentId);
    await owner.host.stopAgent({ agentId, delete: true }, { signal: this.#signal });
    // The hosts hold the array itself.
    const others = this.#history.filter((event) => event.agentId !== agentId);
    this.#history.splice(0, this.#history.length, ...others);
  }

  settle(agentId: string): Promise<Settled<TwinHost>> {
    return settle({
      agentId,
      registry: this.#cluster.registry,
      hosts: this.#hosts,
      ticks: this.#history,
      signal: this.#signal,
    });
  }

  other(host: TwinHost): TwinHost {
    return this.#hosts[0] === host ? this.#hosts[1] : this.#hosts[0];
  }

  /** The next migration dials anew. */
  async disconnect(): Promise<void> {
    for (const { proxy } of this.#hosts) proxy.cutAll();
    await waitFor(() => this.#hosts.every((host) => !host.isConnected()), {
      what: "both hosts know that they are not connected",
      everyMs: 5,
      signal: this.#signal,
    });
  }

  /** Of what the migration machines wait for; 1 for the short ones. */
  patience(factor: number): void {
    for (const name of ["connectMs", "acceptMs", "preparedMs", "startedMs", "partMs", "closeMs"] as const) {
      this.#timeouts[name] = shortWaits[name] * factor;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host[Symbol.asyncDispose]()));
  }

  /** The same module with a custom section that says whose it is. */
  async #unlike(wasmPath: string, name: string): Promise<string> {
    const content = Buffer.from(`\u0003own${name}`, "latin1");
    const section = Buffer.concat([Buffer.from([0, content.length]), content]);
    const path = join(this.#cluster.dir, `${this.#hosts[0].name}-${name}.wasm`);
    await writeFile(path, Buffer.concat([await readFile(wasmPath), section]));
    return path;
  }
}
