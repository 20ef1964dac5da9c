// How each fault is done to a cluster, and undone.

import type { Cluster } from "../cluster/cluster.ts";
import type { SimHost } from "../cluster/sim-host.ts";
import { type SimRegistry, STORE } from "../cluster/sim-registry.ts";
import type { CommitFault } from "../disk/sim-disk.ts";
import type { Chance } from "../time/chance.ts";
import type { Trace } from "../trace.ts";
import type { Fault, FaultKind } from "./plan.ts";

export interface StrikeParts {
  readonly cluster: Cluster;
  readonly trace: Trace;
  /** A fault really happened. */
  readonly fired: (kind: FaultKind) => void;
  readonly move: (agentId: string, to: SimHost) => void;
}

const SNAPSHOT_EVERY_MS = 1_500;
const MOST_SNAPSHOTS = 20;

const AMID_A_MOVE: ReadonlySet<FaultKind> = new Set([
  "crash-host",
  "pause-host",
  "suspend-host",
  "crash-registry",
  "pause-registry",
  "all-registries-gone",
  "partition-registry",
  "partition-hosts",
  "isolate-host",
  "one-way",
  "half-open",
  "store-cut-off",
  "stop-host",
  "store-wiped",
  "store-rolled-back",
  "store-replaced",
  "store-restarted",
]);

export class Strikes {
  readonly #parts: StrikeParts;
  /** Armed and not reached yet: at which process, of which fault. */
  readonly armed = new Map<string, { readonly kind: FaultKind; readonly downForMs: number }>();
  readonly #streamCuts: { readonly bytes: number; readonly kind: FaultKind }[] = [];
  #over = false;

  constructor(parts: StrikeParts) {
    this.#parts = parts;
    this.#takeSnapshots();
    parts.cluster.nodes.cutsFor = () => {
      const cut = this.#streamCuts.shift();
      return {
        bytesLeft: cut?.bytes,
        onCut: () => {
          if (cut !== undefined) this.#fired(cut.kind, "stream cut");
        },
      };
    };
  }

  /** A process has reached the crash point that was armed in it. */
  reached(who: string, point: string): void {
    const { cluster } = this.#parts;
    const armed = this.armed.get(who);
    this.armed.delete(who);
    if (armed === undefined) return;
    this.#fired(armed.kind, `${who} dies at ${point}`);
    cluster.timeline.after(armed.downForMs, () => this.#restart(who));
  }

  /** No more faults: everything that is down comes up, everything that is cut is healed. */
  end(): void {
    this.#over = true;
    const { cluster } = this.#parts;
    this.#streamCuts.length = 0;
    this.armed.clear();
    const names = this.#names();
    for (const from of names) {
      for (const to of names) {
        if (from === to) continue;
        cluster.network.weather(from, to, { loss: 0, slowMs: 0 });
        cluster.network.heal(from, to);
        cluster.network.reconnect(from, to);
      }
    }
    cluster.network.duplicates = 0;
    for (const one of [...cluster.hosts, ...cluster.registries]) {
      one.crashPoints?.disarm();
      one.process?.resume();
      if (one.process?.alive !== true) one.start();
    }
    for (const host of cluster.hosts) {
      host.disk.disarm();
      this.#drain(host, false);
      if (host.storage?.broken !== undefined) this.#reboot(host, 10);
    }
  }

  strike(fault: Fault, chance: Chance): void {
    const { cluster } = this.#parts;
    const host = chance.pick(cluster.hosts);
    const other = chance.pick(cluster.hosts.filter((one) => one !== host));
    if (!AMID_A_MOVE.has(fault.kind) || chance.happens(0.5)) {
      this.#strike(fault, chance, { host, other });
      return;
    }
    // The moments that matter are few milliseconds: half of the faults are made to meet one.
    this.#moveSomething(host, chance.pick(["away", "here"]), chance);
    cluster.timeline.after(chance.between(0, 80), () => {
      if (!this.#over) this.#strike(fault, chance, { host, other });
    });
  }

  #strike(fault: Fault, chance: Chance, { host, other }: { readonly host: SimHost; readonly other: SimHost }): void {
    const { cluster } = this.#parts;
    const { timeline, network } = cluster;
    const { kind, forMs } = fault;
    const registry = chance.pick(cluster.registries);
    const later = (run: () => void) => timeline.after(forMs, () => (this.#over ? undefined : run()));
    switch (kind) {
      case "crash-host":
        if (host.process?.alive !== true) return;
        this.#fired(kind, host.name);
        this.#reboot(host, forMs);
        return;
      case "crash-host-at-point": {
        const { crashPoints } = host;
        if (crashPoints === undefined || !host.isUp) return;
        const point = chance.pick(crashPoints.points);
        crashPoints.arm({ point, nth: chance.whole(1, 2), action: "crash" });
        this.armed.set(host.name, { kind, downForMs: forMs });
        this.#moveSomething(host, point.startsWith("source") ? "away" : "here", chance);
        return;
      }
      case "crash-host-at-commit":
        if (!host.isUp) return;
        host.disk.arm(chance.pick<CommitFault>(["crash-before", "crash-after"]), () => {
          this.#fired(kind, host.name);
          timeline.after(forMs, () => this.#restart(host.name));
        });
        return;
      case "stop-host":
        if (!host.isUp) return;
        this.#fired(kind, host.name);
        host.process?.enter(() => {
          const { process } = host;
          host.stop().catch(() => process?.kill());
          // One that does not stop in time is killed, and comes up again all the same.
          timeline.after(10_000, () => process?.kill());
          timeline.after(10_000 + forMs, () => this.#restart(host.name));
        });
        return;
      case "pause-host":
      case "stall-host":
        if (host.process?.running !== true) return;
        this.#fired(kind, host.name);
        this.#pause(host, kind === "pause-host" ? forMs : Math.min(forMs, 3_000));
        return;
      case "suspend-host": {
        const { process } = host;
        if (process?.running !== true) return;
        this.#fired(kind, host.name);
        process.stop();
        timeline.after(forMs, () => {
          host.machine.suspended(forMs);
          process.resume();
        });
        return;
      }
      case "crash-registry":
        if (registry.process?.alive !== true) return;
        this.#fired(kind, registry.name);
        registry.kill();
        later(() => this.#restart(registry.name));
        return;
      case "crash-registry-at-point": {
        const { crashPoints } = registry;
        if (crashPoints === undefined || registry.process?.alive !== true) return;
        const common = crashPoints.points.filter((point) =>
          /^(report|begin|claim|recover|revert|release)\./.test(point),
        );
        crashPoints.arm({ point: chance.pick(common), nth: chance.whole(1, 2), action: "crash" });
        this.armed.set(registry.name, { kind, downForMs: forMs });
        this.#moveSomething(host, "away", chance);
        return;
      }
      case "pause-registry":
        if (registry.process?.running !== true) return;
        this.#fired(kind, registry.name);
        this.#pause(registry, forMs);
        return;
      case "all-registries-gone":
        this.#fired(kind, "");
        for (const one of cluster.registries) {
          one.kill();
          timeline.after(forMs + chance.between(0, 2_000), () => this.#restart(one.name));
        }
        return;
      case "observer-cut-off":
        this.#cut(
          kind,
          cluster.hosts.map((one) => [one.name, registry.name] as const),
          fault,
          "both",
        );
        return;
      case "store-cut-off":
        this.#cut(kind, [[registry.name, STORE]], fault, chance.pick(["both", "there", "back"]));
        return;
      case "partition-registry":
        this.#cut(
          kind,
          cluster.registries.map((one) => [host.name, one.name] as const),
          fault,
          "both",
        );
        return;
      case "partition-hosts":
        this.#cut(kind, [[host.name, other.name]], fault, "both");
        return;
      case "isolate-host":
        this.#cut(
          kind,
          this.#names()
            .filter((name) => name !== host.name)
            .map((name) => [host.name, name] as const),
          fault,
          "both",
        );
        return;
      case "one-way": {
        const far = chance.happens(0.5) ? cluster.registries.map(({ name }) => name) : [other.name];
        const ways = far.map((name) => [host.name, name] as const);
        this.#cut(kind, ways, fault, chance.pick(["there", "back"]));
        return;
      }
      case "flapping": {
        const pairs = cluster.registries.map((one) => [host.name, one.name] as const);
        this.#fired(kind, host.name);
        const everyMs = chance.between(200, 3_000);
        for (let atMs = 0; atMs < forMs; atMs += 2 * everyMs) {
          timeline.after(atMs, () => (this.#over ? undefined : this.#ways(pairs, "both", "cut")));
          timeline.after(atMs + everyMs, () => this.#ways(pairs, "both", "heal"));
        }
        return;
      }
      case "half-open":
        this.#fired(kind, `${host.name} and ${other.name}`);
        if (chance.happens(0.5)) network.halfOpen(host.name, other.name);
        else for (const one of cluster.registries) network.halfOpen(host.name, one.name);
        later(() => {
          for (const name of [other.name, ...cluster.registries.map((one) => one.name)])
            network.reconnect(host.name, name);
        });
        return;
      case "weather": {
        const loss = chance.between(0.02, 0.3);
        const slowMs = chance.between(0, 800);
        this.#fired(kind, `loss ${Math.round(loss * 100)} %, up to ${Math.round(slowMs)} ms more`);
        this.#weather({ loss, slowMs });
        later(() => this.#weather({ loss: 0, slowMs: 0 }));
        return;
      }
      case "slow-store": {
        const slowMs = chance.between(100, 1_500);
        this.#fired(kind, `up to ${Math.round(slowMs)} ms`);
        const slow = (ms: number) => {
          for (const { name } of cluster.registries) {
            network.weather(name, STORE, { loss: 0, slowMs: ms });
            network.weather(STORE, name, { loss: 0, slowMs: ms });
          }
        };
        slow(slowMs);
        later(() => slow(0));
        return;
      }
      case "duplicates":
        this.#fired(kind, "");
        network.duplicates = chance.between(0.05, 0.3);
        later(() => {
          network.duplicates = 0;
        });
        return;
      case "cut-stream":
        this.#streamCuts.push({ bytes: chance.whole(1, chance.pick([500, 4_000, 12_000])), kind });
        this.#moveSomething(host, "away", chance);
        return;
      case "wall-jump": {
        const ms = chance.pick([-1, 1]) * 10 ** chance.between(2, 8);
        const one = chance.pick([...cluster.hosts, ...cluster.registries]);
        this.#fired(kind, `${one.name} by ${Math.round(ms)} ms`);
        one.machine.jumpWall(ms);
        return;
      }
      case "disk-full":
        host.disk.arm("full", () => {
          if (this.#noted.has(fault.id)) return;
          this.#noted.add(fault.id);
          this.#fired(kind, host.name);
        });
        timeline.after(forMs, () => host.disk.disarm());
        return;
      case "disk-error":
        host.disk.arm(chance.pick<CommitFault>(["torn-written", "torn-lost"]), () => {
          this.#fired(kind, host.name);
          // Whoever runs it sees that it is not ready, and starts it anew.
          timeline.after(Math.max(1_000, forMs), () => {
            if (!this.#over) this.#reboot(host, 100);
          });
        });
        return;
      case "drain":
        this.#fired(kind, host.name);
        this.#drain(host, true);
        for (const agentId of agentsOn(host)) this.#parts.move(agentId, other);
        later(() => this.#drain(host, false));
        return;
      case "store-wiped":
        this.#fired(kind, "");
        cluster.store.wipe();
        return;
      case "store-rolled-back":
      case "store-replaced": {
        const snapshot = chance.pick(this.#snapshots);
        this.#fired(kind, `to ${(snapshot.atMs / 1_000).toFixed(1)} s`);
        cluster.store.rollBack(snapshot.content);
        cluster.store.becomes(`store-${++this.#stores}`);
        return;
      }
      case "failover-forgotten":
        this.#forgetFailover(host, fault, chance);
        return;
      case "store-restarted":
        this.#fired(kind, "");
        cluster.store.becomes(`store-${++this.#stores}`);
        return;
      case "concurrent-moves": {
        const [agentId] = agentsOn(host);
        if (agentId === undefined) return;
        this.#fired(kind, host.name);
        for (let moves = 0; moves < 3; moves++) this.#parts.move(agentId, chance.pick(cluster.hosts));
        return;
      }
    }
  }

  #forgetFailover(host: SimHost, { kind, forMs }: Fault, chance: Chance): void {
    const { cluster } = this.#parts;
    const ways = cluster.registries.map((one) => [host.name, one.name] as const);
    this.#ways(ways, "both", "cut");
    cluster.timeline.after(chance.between(12_500, 20_000), () => {
      if (this.#over) return;
      this.#fired(kind, `when ${host.name} comes back`);
      const early = this.#snapshots[0];
      if (chance.happens(0.5) || early === undefined) cluster.store.wipe();
      else cluster.store.rollBack(early.content);
      cluster.store.becomes(`store-${++this.#stores}`);
      this.#ways(ways, "both", "heal");
      for (const other of cluster.hosts) {
        if (other !== host && chance.happens(0.7)) this.#reboot(other, 5_000 + forMs);
      }
    });
  }

  readonly #noted = new Set<number>();
  /** What the store may go back to: one of each few seconds, the newest. */
  readonly #snapshots: { readonly atMs: number; readonly content: unknown }[] = [];
  #stores = 1;

  #takeSnapshots(): void {
    if (this.#over) return;
    const { timeline, store } = this.#parts.cluster;
    this.#snapshots.push({ atMs: timeline.nowMs, content: store.snapshot() });
    if (this.#snapshots.length > MOST_SNAPSHOTS) this.#snapshots.shift();
    timeline.after(SNAPSHOT_EVERY_MS, () => this.#takeSnapshots());
  }

  #fired(kind: FaultKind, what: string): void {
    this.#parts.fired(kind);
    this.#parts.trace.say("FAULT", `${kind} ${what}`);
  }

  #reboot(host: SimHost, downForMs: number): void {
    host.kill();
    this.#parts.cluster.timeline.after(downForMs, () => this.#restart(host.name));
  }

  #restart(name: string): void {
    const { hosts, registries } = this.#parts.cluster;
    const one = [...hosts, ...registries].find((candidate) => candidate.name === name);
    if (one !== undefined && one.process?.alive !== true) one.start();
  }

  #pause(one: SimHost | SimRegistry, forMs: number): void {
    const { process } = one;
    process?.stop();
    this.#parts.cluster.timeline.after(forMs, () => process?.resume());
  }

  #cut(
    kind: FaultKind,
    pairs: readonly (readonly [string, string])[],
    { forMs }: Fault,
    which: "both" | "there" | "back",
  ): void {
    this.#fired(kind, `${pairs.map(([a, b]) => `${a}/${b}`).join(" ")} ${which}`);
    this.#ways(pairs, which, "cut");
    this.#parts.cluster.timeline.after(forMs, () => this.#ways(pairs, which, "heal"));
  }

  #ways(pairs: readonly (readonly [string, string])[], which: "both" | "there" | "back", act: "cut" | "heal"): void {
    const { network } = this.#parts.cluster;
    for (const [a, b] of pairs) {
      if (which !== "back") network[act](a, b);
      if (which !== "there") network[act](b, a);
    }
  }

  #weather(rules: { readonly loss: number; readonly slowMs: number }): void {
    const names = this.#names();
    for (const from of names) {
      for (const to of names) if (from !== to) this.#parts.cluster.network.weather(from, to, rules);
    }
  }

  #drain(host: SimHost, draining: boolean): void {
    void this.#parts.cluster.drain(host, draining);
  }

  #moveSomething(host: SimHost, way: "away" | "here", chance: Chance): void {
    const { cluster, move } = this.#parts;
    const others = cluster.hosts.filter((one) => one !== host);
    const from = way === "away" ? [host] : others;
    const agents = from.flatMap((one) => agentsOn(one));
    if (agents.length === 0) return;
    move(chance.pick(agents), way === "away" ? chance.pick(others) : host);
  }

  #names(): readonly string[] {
    const { hosts, registries } = this.#parts.cluster;
    return [...hosts.map(({ name }) => name), ...registries.map(({ name }) => name), STORE];
  }
}

/** Agents that tick there, as far as the host knows. */
export function agentsOn(host: SimHost): readonly string[] {
  if (!host.isUp) return [];
  return [...(host.graph?.roster.supervisors ?? [])]
    .filter(({ tenancy }) => tenancy.tenure.kind === "ACTIVE_OWNER")
    .map(({ identity }) => identity.agentId);
}
