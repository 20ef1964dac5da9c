// Three hosts and two replicas of a registry on one Redis, all processes, and agents that are moved between the hosts all the
// time, whatever fails.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { systemClock } from "@godwit/common/clock";
import { Cluster, type HostNode, type RegistryNode, seededRandom, waitFor } from "@godwit/testing";
import { move, type Settled, settle } from "./judge.ts";
import { ProcessHost } from "./processes.ts";
import { TickWatch } from "./tick-watch.ts";

export interface FlockRules {
  readonly redisUrl: string;
  readonly durationMs: number;
  readonly graceMs: number;
  readonly agents: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

const hostNames = ["a", "b", "c"];
/** It reaches one registry only, through a proxy. */
const deafName = "c";
const registryNames = ["registry-1", "registry-2"];
const budget = 1_000_000_000_000n;
const lookEveryMs = 100;
const moveEveryMs = 100;
const evidenceLines = 20;
const built = (path: string) => fileURLToPath(new URL(`../../agents/${path}`, import.meta.url));
const wasm = built("survivor/build/survivor.wasm");

export class Flock implements AsyncDisposable {
  readonly watch = new TickWatch();
  readonly #cluster: Cluster;
  readonly #agents: string[] = [];
  readonly #rules: FlockRules;
  readonly #over = new AbortController();
  #watching: Promise<unknown> = Promise.resolve();

  static async start(rules: FlockRules): Promise<Flock> {
    const cluster = await Cluster.create({ redisUrl: rules.redisUrl });
    const flock = new Flock(cluster, rules);
    try {
      for (const name of registryNames) await cluster.startRegistry({ name, env: registryEnv(rules) });
      await Promise.all(
        hostNames.map((name) =>
          cluster.startHost({ name, env: hostEnv, ...(name === deafName ? { proxied: ["registry"] } : {}) }),
        ),
      );
      flock.#watching = Promise.all(cluster.hosts.map((host) => flock.#lookAt(host)));
      const manifest = JSON.parse(await readFile(built("survivor/build/survivor.manifest.json"), "utf8")) as object;
      for (let agents = 0; agents < rules.agents; agents += cluster.hosts.length) {
        const made = cluster.hosts.map((host, index) =>
          host.runAgent(wasm, { name: `survivor-${agents + index}`, budget, manifest }, rules.signal),
        );
        flock.#agents.push(...(await Promise.all(made)).map(({ agentId }) => agentId));
      }
      return flock;
    } catch (error) {
      await flock[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(cluster: Cluster, rules: FlockRules) {
    this.#cluster = cluster;
    this.#rules = rules;
  }

  get registries(): readonly RegistryNode[] {
    return this.#cluster.registries;
  }

  get hosts(): readonly HostNode[] {
    return this.#cluster.hosts;
  }

  get deaf(): HostNode {
    return this.#cluster.host(deafName);
  }

  get agents(): readonly string[] {
    return this.#agents;
  }

  comes<T>(what: string, come: (signal: AbortSignal) => T | Promise<T>, timeoutMs = 120_000) {
    const { signal } = this.#rules;
    return waitFor(come, { what, timeoutMs, signal, evidence: () => this.evidence() });
  }

  settle(agentId: string): Promise<Settled<ProcessHost>> {
    return settle({
      agentId,
      registry: this.#cluster.registry,
      hosts: this.hosts.map((node) => new ProcessHost(node)),
      signal: this.#rules.signal,
      evidence: () => this.evidence(),
    });
  }

  evidence(): string {
    return [...this.registries, ...this.hosts].map((node) => node.evidence(evidenceLines)).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#watching;
    await this.#cluster.stop();
  }

  async #lookAt({ host, hostId }: HostNode): Promise<void> {
    const signal = this.#over.signal;
    while (!signal.aborted) {
      const askedAtMs = systemClock.monotonicMs();
      // A host that is dead says nothing, and is asked again.
      const answer = await host.listAgents({ includeReplicas: false }, { signal, timeoutMs: 5_000 }).catch(() => {});
      const answeredAtMs = systemClock.monotonicMs();
      for (const { agentId, state, era, major, tick, lastOutcome } of answer?.agents ?? []) {
        // Until its first tick after a recovery there is no tick to count from.
        if (state !== "ACTIVE_OWNER" || lastOutcome === "recovering") continue;
        this.watch.see({ agentId, hostId, era, major, tick, askedAtMs, answeredAtMs });
      }
      await systemClock.sleep(lookEveryMs, signal).catch(() => {});
    }
  }
}

function registryEnv({ durationMs, graceMs }: FlockRules) {
  return {
    GODWIT_LEASE_DURATION: `${durationMs}ms`,
    GODWIT_LEASE_GRACE: `${graceMs}ms`,
    GODWIT_RENEW_EVERY: "1s",
    GODWIT_LOOK_EVERY: "200ms",
    GODWIT_OFFER_SCAN_EVERY: "1s",
    GODWIT_REDIS_TIMEOUT: "2s",
  };
}

const hostEnv = {
  GODWIT_TICK_EVERY: "250ms",
  GODWIT_TICK_TIMEOUT: "1s",
  GODWIT_CHECKPOINT_EVERY: "500ms",
  GODWIT_REGISTRY_TIMEOUT: "2s",
};

/** Moves agents from host to host, several at a time, until it is stopped. */
export class Drovers {
  readonly #flock: Flock;
  readonly #over = new AbortController();
  readonly #lanes: Promise<unknown>;
  #underWay = 0;
  #arrived = 0;
  #failed = 0;

  constructor(
    flock: Flock,
    { seed, lanes, signal }: { readonly seed: number; readonly lanes: number; readonly signal: AbortSignal },
  ) {
    this.#flock = flock;
    const random = seededRandom(seed);
    const both = AbortSignal.any([signal, this.#over.signal]);
    this.#lanes = Promise.all(Array.from({ length: lanes }, () => this.#drive(random, both)));
  }

  get underWay(): number {
    return this.#underWay;
  }

  get arrived(): number {
    return this.#arrived;
  }

  get failed(): number {
    return this.#failed;
  }

  /** Those who ask go away; what is under way ends as it may. */
  async stop(): Promise<void> {
    this.#over.abort();
    await this.#lanes;
  }

  async #drive(random: () => number, signal: AbortSignal): Promise<void> {
    const { agents, hosts, watch } = this.#flock;
    while (!signal.aborted) {
      const agentId = agents[Math.floor(random() * agents.length)] ?? "";
      const source = hosts.find(({ hostId }) => hostId === watch.ownerOf(agentId));
      const others = hosts.filter((host) => host !== source);
      const target = others[Math.floor(random() * others.length)];
      if (source !== undefined && target !== undefined) {
        this.#underWay++;
        try {
          const story = await move(new ProcessHost(source), agentId, { to: new ProcessHost(target), signal });
          if (story.at(-1)?.case === "done") this.#arrived++;
          else this.#failed++;
        } catch {
          this.#failed++;
        } finally {
          this.#underWay--;
        }
      }
      await systemClock.sleep(moveEveryMs, signal).catch(() => {});
    }
  }
}
