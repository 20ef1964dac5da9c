// A host of the simulated cluster: the agent-host's own graph on simulated disk, network, time and chance. It may die and be
// started again on the same disk.

import {
  assemble,
  DataDirectory,
  type EndedTick,
  type ReplayedSegment,
  type HostConfig,
  type HostCrashPoint,
  type HostGraph,
  SOURCE_CRASH_POINTS,
  StreamFaults,
  TARGET_CRASH_POINTS,
  type WriteUnit,
} from "@godwit/agent-host/parts";
import type { SessionId } from "@godwit/common/lease";
import { hostIdOf, signerFromSeed } from "@godwit/lineage";
import { compileWasmNow, defaultSandboxRules, InlineThreads, Sandbox, type WasmModule } from "@godwit/sandbox";
import { CrashPoints, Lifecycle } from "@godwit/service";
import { Registry as MetricsRegistry } from "prom-client";
import type { SimDisk } from "../disk/sim-disk.ts";
import type { Network } from "../net/network.ts";
import { type Servers, SimChannel } from "../net/rpc.ts";
import { type Nodes, SimNode } from "../net/sim-node.ts";
import type { Chance } from "../time/chance.ts";
import { type MachineClock, ProcessEnded, SimProcess } from "../time/sim-process.ts";
import type { Trace } from "../trace.ts";

/** What a checker sees of a host: each tick that counts, each unit that is on the disk. */
export interface HostWitness {
  ticked(host: string, session: SessionId | undefined, ended: EndedTick): void;
  committed(host: string, unit: WriteUnit): void;
  replayed(host: string, segment: ReplayedSegment): void;
}

export interface HostParts {
  readonly network: Network;
  readonly servers: Servers;
  readonly nodes: Nodes;
  readonly registries: readonly string[];
  readonly disk: SimDisk;
  readonly machine: MachineClock;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly witness: HostWitness;
  readonly onBug: (who: string, error: unknown) => void;
  /** A crash point was reached. */
  readonly onCrashPoint: (host: SimHost, point: string) => void;
}

export class SimHost {
  readonly name: string;
  readonly hostId: string;
  readonly disk: SimDisk;
  readonly machine: MachineClock;
  readonly #parts: HostParts;
  readonly #config: HostConfig;
  #process: SimProcess | undefined;
  #graph: HostGraph | undefined;
  #storage: DataDirectory | undefined;
  #lifecycle: Lifecycle | undefined;
  #boots = 0;
  crashPoints: CrashPoints<HostCrashPoint> | undefined;

  constructor(name: string, hostSeed: Uint8Array, parts: HostParts, config: HostConfig) {
    this.name = name;
    this.hostId = hostIdOf(signerFromSeed(hostSeed).publicKey);
    this.disk = parts.disk;
    this.machine = parts.machine;
    this.#parts = parts;
    this.#config = config;
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  get graph(): HostGraph | undefined {
    return this.#graph;
  }

  get storage(): DataDirectory | undefined {
    return this.#storage;
  }

  /** Runs, and was started to the end. */
  get isUp(): boolean {
    return this.#process?.alive === true && this.#graph !== undefined;
  }

  start(): void {
    const { network, machine, trace, onBug } = this.#parts;
    this.#graph = undefined;
    this.#storage = undefined;
    const process = new SimProcess(this.name, network.timeline, machine);
    network.place(process);
    this.#process = process;
    this.#boots++;
    trace.say(this.name, `starts (${this.#boots})`);
    process.enter(() => {
      this.#boot(process).catch((error: unknown) => {
        if (process.alive && !(error instanceof ProcessEnded)) onBug(this.name, error);
      });
    });
  }

  /** kill -9. */
  kill(): void {
    this.#process?.kill();
  }

  /** SIGTERM: what an orderly stop does, and then the end of the process. */
  async stop(): Promise<void> {
    await this.#lifecycle?.stop();
    await this.#storage?.close();
    this.#process?.kill();
  }

  async #boot(process: SimProcess): Promise<void> {
    const { network, servers, nodes, registries, disk, chance, trace, witness } = this.#parts;
    const own = chance.fork(`boot-${this.#boots}`);
    const { clock } = process;
    const storage = await DataDirectory.open(`/sim/${this.name}`, {
      clock,
      rules: { keepHeaders: this.#config.history, keepStates: 3 },
      hold: disk.holdFor(process),
      defer: process.defer,
      onCommitted: (unit) => witness.committed(this.name, unit),
    });
    await this.#showHeld(storage);
    const node = new SimNode({ hostId: this.hostId, process, network, nodes });
    nodes.join(node);
    const sandbox = new Sandbox(
      {
        clock,
        threads: (limits) =>
          new InlineThreads({ clock, machine: machineOf(own), answersAfterMs: delaysOf(own) }, limits),
        compile: async (bytes) => compileOnce(bytes),
      },
      { ...defaultSandboxRules, workers: 1 },
    );
    const crashPoints = new CrashPoints<HostCrashPoint>({
      points: [...SOURCE_CRASH_POINTS, ...TARGET_CRASH_POINTS],
      allowed: true,
      strike: ({ point }) => {
        this.#parts.onCrashPoint(this, point);
        process.kill();
        throw new ProcessEnded();
      },
    });
    const faults = new StreamFaults(
      { clock, onStrike: (fault) => trace.say(this.name, `stream fault ${fault}`) },
      { allowed: false },
    );
    const graph = assemble(this.#config, {
      storage,
      node,
      registry: new SimChannel(
        { network, servers, client: process },
        { targets: registries, timeoutMs: this.#config.registryTimeoutMs },
      ),
      pricing: undefined,
      sandbox,
      faults,
      crashPoints,
      clock,
      random: own.random,
      entropy: own.fork("ids").entropy(),
      logger: trace.logger(this.name),
      metrics: new MetricsRegistry(),
      grpcAddress: () => `${this.name}:1`,
      onTick: (ended) => {
        if (process.alive) witness.ticked(this.name, graph.keeper.current?.id, ended);
      },
      onReplayed: (segment) => {
        if (process.alive) witness.replayed(this.name, segment);
      },
    });
    const lifecycle = new Lifecycle(graph.parts);
    this.#storage = storage;
    this.#lifecycle = lifecycle;
    this.crashPoints = crashPoints;
    await lifecycle.start(new AbortController().signal);
    this.#graph = graph;
  }

  /** What a commit has written although its process was told that it failed, or died before it heard: nobody saw it yet. */
  async #showHeld(storage: DataDirectory): Promise<void> {
    for (const { agentId } of storage.agents()) {
      for (const { digest } of [...(await storage.checkpoints(agentId))].reverse()) {
        const checkpoint = await storage.checkpoint(agentId, digest);
        if (checkpoint !== undefined) this.#parts.witness.committed(this.name, { agentId, checkpoint });
      }
    }
  }
}

/** A tick takes some ten microseconds of the agent's time. */
function machineOf(chance: Chance) {
  let nowNs = 0n;
  return {
    nowNs: () => {
      nowNs += BigInt(chance.whole(5_000, 50_000));
      return nowNs;
    },
    fillRandom: (target: Uint8Array) => {
      for (let at = 0; at < target.length; at++) target[at] = chance.whole(0, 255);
    },
  };
}

/** Some machines are slow all the time: there a lease ends in the middle of a tick now and then. */
function delaysOf(chance: Chance): () => number {
  const slow = chance.happens(0.3) ? 0.7 : 0.02;
  return () => (chance.happens(slow) ? chance.between(1, 95) : 0);
}

const compiled = new Map<string, WasmModule>();

/** Of all hosts together: the code is the same. */
function compileOnce(bytes: Uint8Array): WasmModule {
  const key = Buffer.from(bytes).toString("base64");
  const known = compiled.get(key) ?? compileWasmNow(bytes);
  compiled.set(key, known);
  return known;
}
