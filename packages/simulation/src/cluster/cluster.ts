// A whole cluster in this process: hosts, registry replicas, one store, a network, and what operators ask of them.

import { readFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { agentHost, replayModes } from "@godwit/agent-host/parts";
import { type Signer, signerFromSeed } from "@godwit/lineage";
import { MigrateAgentRequestSchema, type MigrateAgentResponse } from "@godwit/proto/godwit/host/v1/host";
import { DirectoryService, DrainHostRequestSchema } from "@godwit/proto/godwit/registry/v1/directory";
import {
  type KeyStore,
  MemoryStore,
  newMark,
  REGISTRY_CRASH_POINTS,
  type RegistryCrashPoint,
  registryOptions,
  type StoreWitness,
} from "@godwit/registry/parts";
import { CrashPoints } from "@godwit/service";
import { SimDisk } from "../disk/sim-disk.ts";
import { Network } from "../net/network.ts";
import { Servers } from "../net/rpc.ts";
import { Nodes } from "../net/sim-node.ts";
import type { Chance } from "../time/chance.ts";
import { MachineClock, ProcessEnded, SimProcess } from "../time/sim-process.ts";
import type { Timeline } from "../time/timeline.ts";
import type { Trace } from "../trace.ts";
import { fallbacksOf } from "./options.ts";
import { type HostWitness, SimHost } from "./sim-host.ts";
import { SimRegistry, STORE } from "./sim-registry.ts";

export interface ClusterSize {
  readonly hosts: number;
  readonly registries: number;
  /** Unset: this and other times are drawn. */
  readonly tickEveryMs?: number;
}

export interface ClusterParts {
  readonly timeline: Timeline;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly witness: HostWitness & StoreWitness;
  readonly onCrashPoint: (who: string, point: string) => void;
  /** A migration tries a target again. */
  readonly onRetries: (agentId: string, counted: Attempts) => void;
}

/** Of migrations from one host process to one target. */
export interface Attempts {
  readonly retries: number;
  readonly successes: number;
}

export interface AgentSpec {
  readonly name: string;
  readonly module: Uint8Array;
  readonly manifest: Uint8Array;
  readonly budget: bigint;
}

/** 2030-01-01. */
const BEGINNING_MS = Date.UTC(2_030, 0, 1);
const FIRST_STORE = "store-1";

export class Cluster {
  readonly timeline: Timeline;
  readonly network: Network;
  readonly nodes = new Nodes();
  readonly store: MemoryStore;
  readonly registryKey: Signer;
  readonly hosts: readonly SimHost[];
  readonly registries: readonly SimRegistry[];
  /** What no part of a cluster should ever do: errors that are no Fault. */
  readonly bugs: string[] = [];
  readonly #trace: Trace;
  readonly #onRetries: ClusterParts["onRetries"];
  readonly #attempts = new WeakMap<SimProcess, Map<string, Attempts>>();

  constructor({ timeline, chance, trace, witness, onCrashPoint, onRetries }: ClusterParts, size: ClusterSize) {
    this.timeline = timeline;
    this.#trace = trace;
    this.#onRetries = onRetries;
    this.network = new Network(timeline, chance.fork("network"), { leastMs: 0.2, mostMs: 4 });
    this.store = new MemoryStore(witness);
    const storeMachine = new MachineClock(timeline, { rate: 1, monotonicMs: 0, wallMs: BEGINNING_MS });
    this.network.place(new SimProcess(STORE, timeline, storeMachine));

    const ids = chance.fork("ids").entropy();
    this.registryKey = signerFromSeed(ids.bytes(32));
    const servers = new Servers();
    const onBug = (who: string, error: unknown) => {
      if (error instanceof ProcessEnded) return;
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.bugs.push(`${who}: ${text}`);
      trace.say(who, `BUG ${text}`);
    };
    const machineOf = (name: string) => {
      const own = chance.fork(`machine ${name}`);
      return new MachineClock(timeline, {
        // Rates may differ by the margin of SL-3: 2 % of a duration, between any two machines.
        rate: own.between(0.992, 1.008),
        monotonicMs: own.whole(1_000, 1_000_000),
        wallMs: BEGINNING_MS + own.whole(-2_000, 2_000),
      });
    };

    const registryConfig = fallbacksOf(registryOptions);
    const registryNames = Array.from({ length: size.registries }, (_, index) => `registry-${index + 1}`);
    this.registries = registryNames.map(
      (name) =>
        new SimRegistry(
          name,
          {
            network: this.network,
            servers,
            store: this.store,
            keys: heldKey(this.registryKey),
            machine: machineOf(name),
            chance: chance.fork(name),
            crashPoints: (process) =>
              new CrashPoints<RegistryCrashPoint>({
                points: REGISTRY_CRASH_POINTS,
                allowed: true,
                strike: ({ point }) => {
                  onCrashPoint(name, point);
                  process.kill();
                  throw new ProcessEnded();
                },
              }),
            trace,
            onBug,
          },
          registryConfig,
        ),
    );

    const rules = chance.fork("rules");
    const hostConfig = {
      ...fallbacksOf(agentHost.options),
      tickEveryMs: size.tickEveryMs ?? rules.pick([1_000, 1_000, 250]),
      checkpointEveryMs: size.tickEveryMs === undefined ? rules.pick([5_000, 5_000, 1_000, 10_000]) : 5_000,
      replicas: size.tickEveryMs === undefined ? rules.pick([1, 1, 2]) : 1,
      trustDataLock: rules.happens(0.25), // nobody copies a simulated disk
      migrationRetryDelayMs: rules.pick([200, 1_000]),
    };
    this.hosts = Array.from({ length: size.hosts }, (_, index) => {
      const name = `host-${"abcdefgh"[index] ?? index}`;
      const own = chance.fork(name);
      const hostSeed = own.entropy().bytes(32);
      return new SimHost(
        name,
        hostSeed,
        {
          network: this.network,
          servers,
          nodes: this.nodes,
          registries: registryNames,
          disk: new SimDisk(name, hostSeed),
          machine: machineOf(name),
          chance: own,
          trace,
          witness,
          onBug,
          onCrashPoint: (host, point) => onCrashPoint(host.name, point),
        },
        {
          ...hostConfig,
          name,
          price: own.whole(500, 2_000),
          // Hosts that look and hosts that do not, in one cluster.
          ...(size.tickEveryMs === undefined && {
            replayMode: own.pick(replayModes),
            verifyInterval: own.pick([5, 5, 1, 20]),
          }),
        },
      );
    });
    const mark = newMark({ incarnation: ids.uuid(), storeIdentity: FIRST_STORE }, this.registryKey);
    this.store.becomes(FIRST_STORE);
    void this.store.replaceMark(undefined, mark.bytes);
  }

  start(): void {
    for (const registry of this.registries) registry.start();
    for (const host of this.hosts) host.start();
  }

  /** Begins an agent on a host, as an operator would. */
  async run(host: SimHost, spec: AgentSpec): Promise<string> {
    const graph = host.graph;
    if (graph === undefined) throw new Error(`${host.name} is not up`);
    return await graph.roster.run(spec, new AbortController().signal);
  }

  /** Tells any registry that a host is drained, or not any more. */
  async drain(host: SimHost, draining: boolean): Promise<void> {
    const graph = this.registries.find((registry) => registry.process?.running === true)?.graph;
    const directory = graph?.services.find(({ service }) => service.typeName === DirectoryService.typeName);
    const request = create(DrainHostRequestSchema, { hostId: host.hostId, draining });
    const context = {
      signal: new AbortController().signal,
      deadline: undefined,
      peer: "operator",
      clientName: undefined,
    };
    try {
      await directory?.handle("drainHost", request, { ...context, header: () => undefined });
    } catch {
      // The registry does not know the host yet, or has no store just now: an operator would try again.
    }
  }

  /** After the run. */
  discard(): void {
    for (const one of [...this.hosts, ...this.registries]) one.process?.kill();
    for (const host of this.hosts) host.disk.discard();
  }

  /** Moves an agent; what the host says of it ends in `onEnd`. */
  migrate(
    host: SimHost,
    move: { readonly agentId: string; readonly to: string },
    onEnd: (event: string) => void,
  ): void {
    const { graph, process } = host;
    if (graph === undefined || process === undefined) return;
    const request = create(MigrateAgentRequestSchema, {
      agentId: move.agentId,
      targetHostId: move.to,
      allowFallback: true,
      timeoutMs: 60_000,
    });
    process.enter(() => {
      void (async () => {
        let last = "";
        try {
          const signal = new AbortController().signal;
          const events = graph.service.handle("migrateAgent", request, {
            signal,
            deadline: undefined,
            peer: "operator",
            clientName: undefined,
            header: () => undefined,
          }) as AsyncIterable<MigrateAgentResponse>;
          for await (const { event } of events) {
            last = event.case ?? "";
            if (event.case === "attempt" && event.value.attempt > 1) {
              this.#count(process, event.value.targetHostId, { retries: 1, successes: 0 }, move.agentId);
            }
            if (event.case === "done") {
              this.#count(process, event.value.targetHostId, { retries: 0, successes: 1 }, move.agentId);
            }
            if (event.case === "done")
              this.#trace.say(host.name, `moved ${move.agentId.slice(0, 8)} as major ${event.value.major}`);
            if (event.case === "step")
              this.#trace.say(host.name, `moving ${move.agentId.slice(0, 8)}: ${event.value.step}`);
            if (event.case === "attemptFailed") {
              this.#trace.say(
                host.name,
                `moving ${move.agentId.slice(0, 8)} failed: ${event.value.code} (${event.value.failureClass})`,
              );
            }
          }
          onEnd(last);
        } catch (error) {
          onEnd(error instanceof Error ? error.message : String(error));
        }
      })();
    });
  }

  #count(process: SimProcess, target: string, more: Attempts, agentId: string): void {
    const counted = this.#attempts.get(process) ?? new Map<string, Attempts>();
    this.#attempts.set(process, counted);
    const { retries, successes } = counted.get(target) ?? { retries: 0, successes: 0 };
    const now = { retries: retries + more.retries, successes: successes + more.successes };
    counted.set(target, now);
    if (more.retries > 0) this.#onRetries(agentId, now);
  }
}

function heldKey(signer: Signer): KeyStore {
  const key = { signer, founding: false };
  return { find: async () => key, found: async () => key, settle: async () => {} };
}

export function readAgent(directory: string): { readonly module: Uint8Array; readonly manifest: Uint8Array } {
  return {
    module: new Uint8Array(readFileSync(`${directory}/survivor.wasm`)),
    manifest: new Uint8Array(readFileSync(`${directory}/survivor.manifest.json`)),
  };
}
