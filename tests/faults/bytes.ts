// Migrations over a network that sees only ciphertext: cut, delayed and half-open at offsets drawn by a seed, from the first
// byte of the connection on (testing.md, faults 4 to 6).

import { type Cluster, type Direction, seededRandom } from "@godwit/testing";
import type { SuiteRules } from "./frames.ts";
import { checkTold, move, type Outcome, outcomeOf } from "./judge.ts";
import { type AgentKind, Twins } from "./twins.ts";

export interface ByteRules extends SuiteRules {
  readonly seed: number;
  /** How many cuts. There is a half-open line for every fourth of them, and a slow one for every tenth. */
  readonly offsets: number;
}

interface ByteCase {
  readonly kind: "cut" | "half-open" | "delay";
  readonly agent: AgentKind;
  readonly direction: Direction | "both";
  /** Where in the traffic of this migration, 0 to 1. */
  readonly where: number;
  readonly number: number;
}

const maxTries = 20;
/** After so many, the lineage of an agent is long enough. */
const agentLives = 40;

export function byteCases({ seed, offsets }: { readonly seed: number; readonly offsets: number }): readonly ByteCase[] {
  const random = seededRandom(seed);
  const draw = (kind: ByteCase["kind"], number: number): ByteCase => {
    const ways = kind === "cut" ? (["to-server", "to-client"] as const) : (["to-server", "to-client", "both"] as const);
    return {
      kind,
      number,
      agent: random() < 0.75 ? "small" : "large",
      direction: ways[Math.floor(random() * ways.length)] ?? "to-server",
      // Every second one in the last part, where the agent changes hands.
      where: number % 2 === 0 ? random() : 0.7 + 0.3 * random(),
    };
  };
  return Array.from({ length: offsets }, (_, index) => [
    draw("cut", index),
    ...(index % 4 === 0 ? [draw("half-open", index)] : []),
    ...(index % 10 === 0 ? [draw("delay", index)] : []),
  ]).flat();
}

export async function runBytes(cluster: Cluster, rules: ByteRules): Promise<void> {
  const { tally, signal, say, seed, lanes = 3 } = rules;
  const cases = [...byteCases(rules)];
  const all = cases.length;
  say(`${rules.offsets} cuts at byte offsets of seed ${seed}, and half-open and slow lines: ${all} migrations`);
  const lane = async (name: string): Promise<void> => {
    await using line = await Line.start(cluster, name, signal);
    for (let next = cases.shift(); next !== undefined; next = cases.shift()) {
      signal.throwIfAborted();
      const kind = `bytes: ${next.kind}`;
      try {
        tally.fired(kind, await line.strike(next));
      } catch (error) {
        signal.throwIfAborted();
        tally.failed(kind, `bytes: --seed ${seed}, ${next.kind} ${next.number}: ${JSON.stringify(next)}`, error);
        await line.anew();
      }
      if (cases.length % 20 === 0) say(`${all - cases.length} of ${all} byte offsets`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(`bytes-${index}`)));
}

interface Traffic {
  readonly "to-server": number;
  readonly "to-client": number;
}

class Line implements AsyncDisposable {
  readonly #twins: Twins;
  readonly #signal: AbortSignal;
  readonly #agents = new Map<AgentKind, { readonly agentId: string; lives: number; traffic: Traffic }>();

  static async start(cluster: Cluster, name: string, signal: AbortSignal): Promise<Line> {
    return new Line(await Twins.start(cluster, name, signal), signal);
  }

  private constructor(twins: Twins, signal: AbortSignal) {
    this.#twins = twins;
    this.#signal = signal;
  }

  async strike(asked: ByteCase): Promise<Outcome> {
    for (let tries = 0; tries < maxTries; tries++) {
      const outcome = await this.#once(asked);
      if (outcome !== undefined) return outcome;
    }
    throw new Error(`the fault did not strike in ${maxTries} migrations`);
  }

  async anew(): Promise<void> {
    this.#agents.clear();
    for (const { proxy } of this.#twins.hosts) proxy.calm();
    await this.#twins.disconnect().catch(() => {}); // it is only to begin well
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#twins[Symbol.asyncDispose]();
  }

  /** The outcome; undefined when this migration was over before that offset, and says how long it was. */
  async #once({ kind, agent, direction, where }: ByteCase): Promise<Outcome | undefined> {
    const life = await this.#agent(agent);
    const { agentId, traffic } = life;
    const before = await this.#twins.settle(agentId);
    const target = this.#twins.other(before.owner);
    await this.#twins.disconnect();
    const { proxy } = target;
    const counts = proxy.counts;
    const offset = Math.floor(where * traffic[direction === "both" ? "to-server" : direction]);
    if (kind === "cut" && direction !== "both") proxy.cutAfter(offset, direction);
    if (kind === "half-open") proxy.swallowAfter(offset, ...(direction === "both" ? [] : [direction]));
    if (kind === "delay") proxy.delay(1 + Math.floor(where * 40), ...(direction === "both" ? [] : [direction]));
    const story = await move(before.owner, agentId, { to: target, signal: this.#signal });
    const { toServer, toClient } = proxy.counts;
    const fired = {
      cut: toServer.cuts + toClient.cuts > counts.toServer.cuts + counts.toClient.cuts,
      "half-open":
        toServer.swallowedBytes + toClient.swallowedBytes >
        counts.toServer.swallowedBytes + counts.toClient.swallowedBytes,
      delay:
        toServer.delayedChunks + toClient.delayedChunks > counts.toServer.delayedChunks + counts.toClient.delayedChunks,
    }[kind];
    proxy.calm();
    const after = await this.#twins.settle(agentId);
    life.lives++;
    if (fired) {
      const outcome = outcomeOf({ owner: before.owner, major: before.status.major }, after);
      checkTold(story, outcome);
      return outcome;
    }
    life.traffic = {
      "to-server": toServer.forwardedBytes - counts.toServer.forwardedBytes,
      "to-client": toClient.forwardedBytes - counts.toClient.forwardedBytes,
    };
    return undefined;
  }

  async #agent(kind: AgentKind) {
    const living = this.#agents.get(kind);
    if (living !== undefined && living.lives < agentLives) return living;
    if (living !== undefined) await this.#twins.end(living.agentId);
    const agentId = await this.#twins.newAgent(kind);
    // More than there can be: the first migration is over before that, and is the measure for the next ones.
    const life = { agentId, lives: 0, traffic: { "to-server": 1e9, "to-client": 1e9 } };
    this.#agents.set(kind, life);
    return life;
  }
}
