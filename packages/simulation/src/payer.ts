// Who pays for agents: gives them money while they run and when it has ended, says the same thing twice, to one host or to two,
// and says it again later, when the agent may be anywhere.

import type { Cluster } from "./cluster/cluster.ts";
import type { SimHost } from "./cluster/sim-host.ts";
import { agentsOn } from "./faults/strike.ts";
import type { History } from "./history/history.ts";
import type { Chance } from "./time/chance.ts";
import type { Trace } from "./trace.ts";

export interface PayerParts {
  readonly cluster: Cluster;
  readonly history: History;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly agents: readonly string[];
}

interface Sent {
  readonly agentId: string;
  readonly id: string;
  readonly amount: bigint;
}

const PAUSE_MS = { least: 1_000, most: 12_000 } as const;
/** For some hundred ticks, and for ever. */
const LITTLE = { least: 1, most: 5 } as const;
const PLENTY = 1_000_000_000_000n;

export class Payer {
  readonly #parts: PayerParts;
  readonly #sent: Sent[] = [];
  /** What every agent gets in the end, so that it has to tick again. */
  readonly #last = new Map<string, Sent>();
  #atWork = true;

  constructor(parts: PayerParts) {
    this.#parts = parts;
  }

  /** Pays every few seconds until `rest`. */
  work(): void {
    if (!this.#atWork) return;
    const { cluster, chance, agents } = this.#parts;
    const ended = agents.filter((agentId) => this.#isUnfunded(agentId));
    const from = ended.length > 0 && chance.happens(0.6) ? ended : agents;
    if (this.#sent.length > 0 && chance.happens(0.25)) this.#send(chance.pick(this.#sent));
    else if (from.length > 0) this.#send(this.#made(chance.pick(from), this.#amount()));
    cluster.timeline.after(chance.between(PAUSE_MS.least, PAUSE_MS.most), () => this.work());
  }

  rest(): void {
    this.#atWork = false;
  }

  /** Enough for ever for those whose budget has ended, asked of everybody who has them, until they tick again. */
  settle(ticksAgain: (agentId: string) => boolean): void {
    const { cluster, agents } = this.#parts;
    for (const agentId of agents) {
      if (ticksAgain(agentId) || !(this.#isUnfunded(agentId) || this.#last.has(agentId))) continue;
      const funding = this.#last.get(agentId) ?? this.#made(agentId, PLENTY);
      this.#last.set(agentId, funding);
      for (const host of cluster.hosts) this.#give(host, funding);
    }
  }

  #amount(): bigint {
    const { chance } = this.#parts;
    return chance.happens(0.7) ? BigInt(chance.whole(LITTLE.least, LITTLE.most)) : PLENTY;
  }

  #made(agentId: string, amount: bigint): Sent {
    const { chance, history } = this.#parts;
    const id = Buffer.from(chance.entropy().bytes(16)).toString("hex");
    const funding = { agentId, id, amount };
    this.#sent.push(funding);
    history.sent(agentId, funding);
    return funding;
  }

  /** To who runs it, or to somebody who holds it; sometimes twice at once. */
  #send(funding: Sent): void {
    const { cluster, chance } = this.#parts;
    const owner = cluster.hosts.find((host) => agentsOn(host).includes(funding.agentId));
    const to = owner !== undefined && chance.happens(0.8) ? owner : chance.pick(cluster.hosts);
    this.#give(to, funding);
    if (chance.happens(0.3)) this.#give(chance.happens(0.5) ? to : chance.pick(cluster.hosts), funding);
  }

  #give(host: SimHost, { agentId, id, amount }: Sent): void {
    const { graph, process } = host;
    if (graph === undefined || process?.running !== true || host.storage?.agent(agentId) === undefined) return;
    const { trace, history } = this.#parts;
    const named = `funding ${id.slice(0, 8)} of ${agentId.slice(0, 8)}`;
    trace.say("payer", `${named}: ${amount} to ${host.name}`);
    process.enter(() => {
      graph.funder.fund(agentId, { id, amount }, new AbortController().signal).then(
        ({ tick, repeated }) => {
          trace.say(host.name, `${named} was applied as tick ${tick}${repeated ? ", before" : ""}`);
          history.answered(host.name, agentId, { id, tick });
        },
        (error: unknown) => trace.say(host.name, `${named}: ${error instanceof Error ? error.message : String(error)}`),
      );
    });
  }

  /** By the record, or, since the store may have forgotten that, by a host's tombstone. */
  #isUnfunded(agentId: string): boolean {
    const { history, cluster } = this.#parts;
    if (history.agents.get(agentId)?.record?.reason === "unfunded") return true;
    return cluster.hosts.some((host) => {
      const journal = host.storage?.agent(agentId)?.journal;
      return journal?.phase === "retired" && journal.why === "unfunded";
    });
  }
}
