// A host in this process: the agent-host's whole graph on a real data directory, real workers and real libp2p, with a
// FaultProxy between it and the others. One fault costs milliseconds here, where a process would cost seconds.

import { join } from "node:path";
import { P2pNode } from "@godwit/agent-host/p2p";
import { agentHost, assemble, DataDirectory, type HostConfig, type MigrationTimeouts } from "@godwit/agent-host/parts";
import { systemClock, systemEntropy, systemRandom } from "@godwit/common/clock";
import { readCommandLine } from "@godwit/common/config";
import { client, GrpcChannel, GrpcServer, type ServiceClient } from "@godwit/grpc";
import { type AgentStatus, HostService } from "@godwit/proto/godwit/host/v1/host";
import { defaultSandboxRules, Sandbox } from "@godwit/sandbox";
import { Lifecycle, part } from "@godwit/service";
import { FaultProxy, freePort, type HistoryEvent, type RunOptions, uploadFrames, waitFor } from "@godwit/testing";
import { pino } from "pino";
import { Registry as Metrics } from "prom-client";
import type { JudgedHost } from "./judge.ts";
import { LyingFaults } from "./lying-faults.ts";

export interface TwinHostParts {
  readonly name: string;
  /** Its data directory is made below. */
  readonly dir: string;
  /** host:port */
  readonly registry: string;
  /** Told of every tick that is committed. */
  readonly onCommitted: (event: HistoryEvent) => void;
  readonly timeouts: MigrationTimeouts;
}

const workers = 1;
const tickTimeoutMs = 20_000;

export class TwinHost implements JudgedHost, AsyncDisposable {
  readonly name: string;
  readonly hostId: string;
  readonly host: ServiceClient<typeof HostService>;
  readonly faults: LyingFaults;
  /** Between the others' libp2p and this one's. */
  readonly proxy: FaultProxy;
  readonly #storage: DataDirectory;
  readonly #node: P2pNode;
  readonly #lifecycle: Lifecycle;
  readonly #channel: GrpcChannel;

  static async start({ name, dir, registry, onCommitted, timeouts }: TwinHostParts): Promise<TwinHost> {
    await using undo = new AsyncDisposableStack();
    const port = await freePort();
    const proxy = undo.use(await FaultProxy.start({ targetPort: port }));
    const config = configOf({ data: join(dir, name), name, registry });
    const storage = await DataDirectory.open(config.data, {
      clock: systemClock,
      rules: { keepHeaders: config.history, keepStates: 3 },
    });
    undo.defer(() => storage.close());
    const multiaddr = (tcp: number) => `/ip4/127.0.0.1/tcp/${tcp}`;
    const node = await P2pNode.create({
      seed: storage.hostSeed,
      listen: [multiaddr(port)],
      announce: [multiaddr(proxy.port)],
      maxConnections: 50,
    });
    const sandbox = new Sandbox(
      { clock: systemClock, onWorkerLost: () => {} },
      { ...defaultSandboxRules, workers, tickTimeoutMs },
    );
    const faults = new LyingFaults({ clock: systemClock, onStrike: () => {} }, { allowed: true });
    const toRegistry = new GrpcChannel({ target: registry, timeoutMs: config.registryTimeoutMs });
    const graph = assemble(config, {
      storage,
      node,
      registry: toRegistry,
      pricing: undefined,
      sandbox,
      faults,
      crashPoints: { reach: () => {} },
      clock: systemClock,
      random: systemRandom,
      entropy: systemEntropy,
      logger: pino({ level: "silent" }),
      metrics: new Metrics(),
      grpcAddress: () => server.address,
      migrationTimeouts: timeouts,
      onTick: ({ agentId, outcome, era, major, tick }) => {
        if (outcome !== "normal" && outcome !== "more-work") return;
        onCommitted({ kind: "committed", agentId, hostId: graph.hostId, era, major, tick });
      },
    });
    const server: GrpcServer = new GrpcServer(
      { services: [graph.service], clock: systemClock, onError: (error) => console.error(error) },
      { host: "127.0.0.1", port: 0, stopWithinMs: 500 },
    );
    const lifecycle = new Lifecycle([
      part("sandbox", { start: async () => sandbox.warm(), stop: () => sandbox.stop() }),
      part("libp2p", { start: () => node.start(), stop: () => node.stop() }),
      part("grpc", server),
      part("channel", { stop: async () => toRegistry.close() }),
      ...graph.parts,
    ]);
    await lifecycle.start(new AbortController().signal);
    undo.defer(() => lifecycle.stop());
    await waitFor(() => graph.keeper.current !== undefined, { what: `${name} has a session`, everyMs: 5 });
    undo.move();
    return new TwinHost({ name, hostId: graph.hostId, faults, proxy, storage, node, lifecycle }, server.address);
  }

  private constructor(
    parts: Pick<TwinHost, "name" | "hostId" | "faults" | "proxy"> & {
      readonly storage: DataDirectory;
      readonly node: P2pNode;
      readonly lifecycle: Lifecycle;
    },
    address: string,
  ) {
    this.name = parts.name;
    this.hostId = parts.hostId;
    this.faults = parts.faults;
    this.proxy = parts.proxy;
    this.#storage = parts.storage;
    this.#node = parts.node;
    this.#lifecycle = parts.lifecycle;
    this.#channel = new GrpcChannel({ target: address, timeoutMs: 60_000 });
    this.host = client(this.#channel, HostService);
  }

  async agent(agentId: string, signal?: AbortSignal): Promise<AgentStatus | undefined> {
    const { agents } = await this.host.listAgents({ includeReplicas: true }, { signal });
    return agents.find((agent) => agent.agentId === agentId);
  }

  async staged(): Promise<number> {
    return this.#storage.staged().length;
  }

  async run(wasmPath: string, options: RunOptions, signal: AbortSignal): Promise<string> {
    const { agent } = await this.host.runAgent(uploadFrames(wasmPath, options), { signal });
    if (agent === undefined) throw new Error(`${this.name} did not say which agent it runs`);
    return agent.agentId;
  }

  isConnected(): boolean {
    return this.#node.connectedPeers().length > 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    // What is half-open would be waited for.
    await this.proxy.stop();
    await this.#lifecycle.stop();
    await this.#storage.close();
  }
}

function configOf(texts: { readonly data: string; readonly name: string; readonly registry: string }): HostConfig {
  const flags = {
    ...texts,
    "tick-every": "20ms",
    "checkpoint-every": "200ms",
    replicas: "0",
    "registry-timeout": "20s",
  };
  const argv = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
  const read = readCommandLine({ name: "twin", summary: "", options: agentHost.options }, { argv, env: {} });
  if (read.kind === "help") throw new TypeError("no help was asked for");
  return read.options;
}
