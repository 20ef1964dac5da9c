// What people do to a cluster meanwhile: they move agents, stop them and have them taken up again, and name prices.

import type { Cluster } from "./cluster/cluster.ts";
import type { SimHost } from "./cluster/sim-host.ts";
import { agentsOn } from "./faults/strike.ts";
import type { Chance } from "./time/chance.ts";
import type { Trace } from "./trace.ts";

export interface OperatorParts {
  readonly cluster: Cluster;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly agents: readonly string[];
}

const PAUSE_MS = { least: 500, most: 10_000 } as const;

export class Operator {
  readonly #parts: OperatorParts;
  readonly #moves: "only" | "among-others";
  #atWork = true;
  migrations = 0;

  constructor(parts: OperatorParts, { moves }: { readonly moves: "only" | "among-others" }) {
    this.#parts = parts;
    this.#moves = moves;
  }

  /** Does something every few seconds until `rest`. */
  work(): void {
    if (!this.#atWork) return;
    const { cluster, chance, agents } = this.#parts;
    const agentId = agents.length === 0 ? undefined : chance.pick(agents);
    const host = chance.pick(cluster.hosts);
    if (agentId !== undefined) {
      if (this.#moves === "only" || chance.happens(0.7)) this.move(agentId, host);
      else if (chance.happens(0.3)) this.#stop(agentId);
      else if (chance.happens(0.5)) this.recover(agentId, host);
      else this.#reprice(host);
    }
    cluster.timeline.after(chance.between(PAUSE_MS.least, PAUSE_MS.most), () => this.work());
  }

  /** Nothing is asked for any more, but that what was stopped is taken up. */
  rest(): void {
    this.#atWork = false;
  }

  move(agentId: string, to: SimHost): void {
    const { cluster, trace } = this.#parts;
    const from = cluster.hosts.find((host) => agentsOn(host).includes(agentId));
    if (from === undefined || from === to) return;
    trace.say("operator", `move ${agentId.slice(0, 8)} from ${from.name} to ${to.name}`);
    cluster.migrate(from, { agentId, to: to.hostId }, (ended) => {
      if (ended === "done") this.migrations++;
    });
  }

  /** An operator's `recover`: whoever owns the agent keeps it, unless its session is over. */
  recover(agentId: string, host: SimHost): void {
    const { graph, process } = host;
    if (graph === undefined || process?.running !== true || host.storage?.agent(agentId) === undefined) return;
    this.#parts.trace.say("operator", `recover ${agentId.slice(0, 8)} on ${host.name}`);
    process.enter(() => {
      graph.roster.recover(agentId, new AbortController().signal).catch((error: unknown) => {
        this.#parts.trace.say(host.name, `does not recover ${agentId.slice(0, 8)}: ${textOf(error)}`);
      });
    });
  }

  #stop(agentId: string): void {
    const { cluster, chance, trace } = this.#parts;
    const host = cluster.hosts.find((one) => agentsOn(one).includes(agentId));
    const supervisor = host?.graph?.roster.supervisor(agentId);
    if (host?.process?.running !== true || supervisor === undefined) return;
    trace.say("operator", `stop ${agentId.slice(0, 8)} on ${host.name}`);
    host.process.enter(() => {
      supervisor.stop("stopped").catch((error: unknown) => {
        trace.say(host.name, `does not stop ${agentId.slice(0, 8)}: ${textOf(error)}`);
      });
    });
    cluster.timeline.after(chance.between(500, 10_000), () => this.recover(agentId, chance.pick(cluster.hosts)));
  }

  #reprice(host: SimHost): void {
    const price = BigInt(this.#parts.chance.whole(500, 2_000));
    host.process?.enter(() => void host.graph?.self.setPrice(price).catch(() => {}));
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
