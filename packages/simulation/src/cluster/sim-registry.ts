// A registry replica of the simulated cluster: the services' own graph on the store model, behind the network.

import { deadlineSignal } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import {
  assemble,
  type KeyStore,
  loops,
  type RegistryConfig,
  type RegistryCrashPoint,
  type RegistryGraph,
  type RegistryStore,
} from "@godwit/registry/parts";
import { type CrashPoints, Lifecycle } from "@godwit/service";
import { Registry as MetricsRegistry } from "prom-client";
import type { Network } from "../net/network.ts";
import type { Servers } from "../net/rpc.ts";
import type { Chance } from "../time/chance.ts";
import { type MachineClock, SimProcess } from "../time/sim-process.ts";
import type { Trace } from "../trace.ts";

export interface RegistryParts {
  readonly network: Network;
  readonly servers: Servers;
  readonly store: RegistryStore;
  readonly keys: KeyStore;
  readonly machine: MachineClock;
  readonly chance: Chance;
  readonly crashPoints: (process: SimProcess) => CrashPoints<RegistryCrashPoint>;
  readonly trace: Trace;
  readonly onBug: (who: string, error: unknown) => void;
}

export const STORE = "store";
const STORE_TIMEOUT_MS = 2_000;

export class SimRegistry {
  readonly name: string;
  readonly #parts: RegistryParts;
  readonly #config: RegistryConfig;
  #process: SimProcess | undefined;
  #boots = 0;
  #graph: RegistryGraph | undefined;
  crashPoints: CrashPoints<RegistryCrashPoint> | undefined;

  constructor(name: string, parts: RegistryParts, config: RegistryConfig) {
    this.name = name;
    this.#parts = parts;
    this.#config = config;
  }

  get machine(): MachineClock {
    return this.#parts.machine;
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  get graph(): RegistryGraph | undefined {
    return this.#graph;
  }

  start(): void {
    const { network, servers, machine, keys, trace, onBug } = this.#parts;
    const process = new SimProcess(this.name, network.timeline, machine);
    network.place(process);
    this.#process = process;
    const crashPoints = this.#parts.crashPoints(process);
    this.crashPoints = crashPoints;
    const store = reachedOver(network, process, this.#parts.store);
    const ambient = {
      clock: process.clock,
      logger: trace.logger(this.name),
      metrics: new MetricsRegistry(),
      crashPoints,
      keys,
      entropy: this.#parts.chance.fork(`boot-${++this.#boots}`).entropy(),
    };
    const graph = assemble(this.#config, store, ambient);
    this.#graph = graph;
    process.enter(() => {
      new Lifecycle(loops(graph)).start(new AbortController().signal).then(
        () => servers.serve({ process, services: graph.services, onError: (error) => onBug(this.name, error) }),
        (error: unknown) => onBug(this.name, error),
      );
    });
  }

  kill(): void {
    this.#process?.kill();
  }
}

/** The store as a registry reaches it: over the network, with a time-out after which nobody knows. */
function reachedOver(network: Network, process: SimProcess, store: RegistryStore): RegistryStore {
  const local = new Set<string | symbol>(["kind", "where", "start", "stop", "trouble"]);
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (local.has(name) || typeof value !== "function") {
        return typeof value === "function" ? value.bind(target) : value;
      }
      return (...args: unknown[]) => callStore(network, process, () => Reflect.apply(value, target, args));
    },
  });
}

async function callStore(network: Network, process: SimProcess, work: () => Promise<unknown>): Promise<unknown> {
  using deadline = deadlineSignal(process.clock, {
    what: "the store's answer",
    ms: STORE_TIMEOUT_MS,
    signal: new AbortController().signal,
  });
  return await new Promise((resolve, reject) => {
    deadline.signal.addEventListener(
      "abort",
      () => reject(new Fault({ code: "STORE_UNAVAILABLE", reason: "it did not answer in time" })),
      { once: true },
    );
    const back = (run: () => void) => {
      network.send({ from: STORE, to: process.name, toProcess: process, deliver: run });
    };
    network.send({
      from: process.name,
      to: STORE,
      deliver: () => {
        work().then(
          (value) => back(() => resolve(value)),
          (error: unknown) => back(() => reject(error)),
        );
      },
    });
  });
}
