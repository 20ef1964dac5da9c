// The network between the processes: who is reached how fast, and what is lost on the way.
//
// 1. A message to a process that died meanwhile is lost; one to a process that is stopped waits there.
// 2. Loss is that of packets under TCP: what was lost comes later. What is sent into a cut either never arrives, or when
//    the cut is healed: a command may come long after its sender has given it up.
// 3. A connection that went half-open carries nothing more in either direction, and nobody is told; another one works.

import type { Chance } from "../time/chance.ts";
import type { SimProcess } from "../time/sim-process.ts";
import type { Timeline } from "../time/timeline.ts";

export interface NetworkRules {
  readonly leastMs: number;
  readonly mostMs: number;
}

interface Link {
  cut: boolean;
  loss: number;
  slowMs: number;
  halfOpen: boolean;
  held: (() => void)[];
  onHeal: (() => void)[];
}

const RETRANSMIT_MS = 200;
const MOST_RETRANSMITS = 6;

export class Network {
  readonly #timeline: Timeline;
  readonly #chance: Chance;
  readonly #rules: NetworkRules;
  readonly #links = new Map<string, Link>();
  readonly #processes = new Map<string, SimProcess>();
  /** Of every call; a duplicated one is handled twice and answered once. */
  duplicates = 0;
  readonly counts = { messages: 0, lost: 0, late: 0, duplicated: 0 };

  constructor(timeline: Timeline, chance: Chance, rules: NetworkRules) {
    this.#timeline = timeline;
    this.#chance = chance;
    this.#rules = rules;
  }

  get timeline(): Timeline {
    return this.#timeline;
  }

  get chance(): Chance {
    return this.#chance;
  }

  /** The process that is there now, alive or dead. */
  at(name: string): SimProcess | undefined {
    return this.#processes.get(name);
  }

  place(process: SimProcess): void {
    this.#processes.set(process.name, process);
  }

  cut(from: string, to: string): void {
    this.#link(from, to).cut = true;
  }

  heal(from: string, to: string): void {
    const link = this.#link(from, to);
    link.cut = false;
    for (const run of link.onHeal.splice(0)) run();
    for (const deliver of link.held.splice(0)) {
      if (this.#chance.happens(0.5)) {
        this.counts.late++;
        this.#timeline.after(this.latencyMs(from, to), deliver);
      } else this.counts.lost++;
    }
  }

  whenHealed(from: string, to: string, run: () => void): void {
    this.#link(from, to).onHeal.push(run);
  }

  /** Loss and delay of everything on this way. */
  weather(from: string, to: string, { loss, slowMs }: { readonly loss: number; readonly slowMs: number }): void {
    const link = this.#link(from, to);
    link.loss = loss;
    link.slowMs = slowMs;
  }

  isCut(from: string, to: string): boolean {
    return this.#links.get(`${from}>${to}`)?.cut ?? false;
  }

  /** The connections that there are carry nothing more; what is connected anew does. */
  halfOpen(a: string, b: string): void {
    this.#link(a, b).halfOpen = true;
    this.#link(b, a).halfOpen = true;
  }

  isHalfOpen(a: string, b: string): boolean {
    return this.#links.get(`${a}>${b}`)?.halfOpen ?? false;
  }

  reconnect(a: string, b: string): void {
    this.#link(a, b).halfOpen = false;
    this.#link(b, a).halfOpen = false;
  }

  latencyMs(from: string, to: string): number {
    const link = this.#links.get(`${from}>${to}`);
    let ms = this.#chance.between(this.#rules.leastMs, this.#rules.mostMs);
    if (link === undefined) return ms;
    ms += link.slowMs === 0 ? 0 : this.#chance.between(0, link.slowMs);
    for (let tries = 0; tries < MOST_RETRANSMITS && this.#chance.happens(link.loss); tries++) {
      ms += RETRANSMIT_MS * 2 ** tries;
    }
    return ms;
  }

  /**
   * Brings a message to the process that is at `to` when it arrives, if that is `toProcess`, or whichever when that is not
   * given. `afterMs`: on top of the latency, for messages that keep their order.
   */
  send(message: {
    readonly from: string;
    readonly to: string;
    readonly toProcess?: SimProcess | undefined;
    readonly notBeforeMs?: number;
    readonly deliver: () => void;
  }): number {
    const { from, to, toProcess, deliver } = message;
    this.counts.messages++;
    const arrive = () => {
      const process = this.#processes.get(to);
      if (process === undefined || (toProcess !== undefined && process !== toProcess)) return;
      process.enter(deliver);
    };
    const link = this.#links.get(`${from}>${to}`);
    if (link?.halfOpen === true) {
      this.counts.lost++;
      return Number.POSITIVE_INFINITY;
    }
    if (link?.cut === true) {
      link.held.push(arrive);
      return Number.POSITIVE_INFINITY;
    }
    const atMs = Math.max(this.#timeline.nowMs + this.latencyMs(from, to), message.notBeforeMs ?? 0);
    this.#timeline.at(atMs, arrive);
    return atMs;
  }

  #link(from: string, to: string): Link {
    const name = `${from}>${to}`;
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    const link: Link = { cut: false, loss: 0, slowMs: 0, halfOpen: false, held: [], onHeal: [] };
    this.#links.set(name, link);
    return link;
  }
}
