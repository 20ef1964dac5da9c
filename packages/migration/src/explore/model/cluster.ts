// One agent, two or three hosts and a registry as a system that the search can walk through.
//
// A state is a handful of small integers: the store, what was saved of it, the messages in flight, the onlooker's memory, each
// host, and what is left of the budgets. What a step makes of such a part is worked out once, on the production functions,
// and remembered; so most of the walk is table lookups.
//
// SL-3  A session of a living host can only be closed after that host's own deadline.
// Soundness: a command that nobody waits for, and that can never be applied again (its session is closed, its revision or
//       incarnation is past), is forgotten: delivered it would change nothing.

import type { CheckpointRef, ForceRecover } from "@godwit/common/lease";
import { BitLayout } from "../engine/bit-layout.ts";
import { Interner } from "../engine/interner.ts";
import type { Emit, Step, System } from "../engine/search.ts";
import {
  type BudgetName,
  type Budgets,
  budgetBits,
  canPay,
  costOf,
  describeBudgets,
  left,
  packBudgets,
} from "./budgets.ts";
import { Digests } from "./digests.ts";
import { canTick, crashed, type Draft, type HostContext } from "./host.ts";
import { HostSteps, type Move } from "./host-steps.ts";
import { lineagesOf } from "./lineages.ts";
import { Network } from "./network.ts";
import { see } from "./onlooker.ts";
import { isServing, serve, serveReassert } from "./registry.ts";
import { productionRules, type Rules } from "./rules.ts";
import { describeGhost, describeHost, describeMessage, describeStore } from "./show.ts";
import { StoreSteps } from "./store-steps.ts";
import { strangeCommands } from "./strangers.ts";
import {
  firstIncarnation,
  type Ghost,
  type GhostEvent,
  type Host,
  type Message,
  type Store,
  sessionName,
} from "./world.ts";

export interface ClusterOptions {
  readonly hosts: readonly string[];
  readonly budgets: Budgets;
  /** `owned` (default): the first host owns the agent, the others have announced its first checkpoint. */
  readonly begins?: "acquiring" | "owned";
  readonly trustDataLock?: boolean;
  /** Whether whoever has no right tries every command in every state of the store. */
  readonly strangers?: boolean;
  readonly rules?: Partial<Rules>;
  /** SL-3 and the length of the quarantine, for tests that break them. */
  readonly timing?: { readonly closesEarly?: boolean; readonly quarantineTooShort?: boolean };
  /** Told once of each row of the tables that occurred. */
  readonly onRow?: (row: string) => void;
}

const storeBits = 20;
const netBits = 21;
const ghostBits = 18;
const hostBits = 21;

const at = { store: 0, saved: 1, net: 2, ghost: 3, budget: 4, hosts: 5 } as const;

export class Cluster implements System {
  readonly words: number;
  readonly options: ClusterOptions;
  readonly #layout: BitLayout;
  readonly #rules: Rules;
  readonly #digests = new Digests();
  readonly #stores = new Interner<Store>("states of the store", storeBits);
  readonly #ghosts = new Interner<Ghost>("memories of the onlooker", ghostBits);
  readonly #ghostEvents = new Interner<GhostEvent>("sightings", 20);
  readonly #hosts: readonly Interner<Host>[];
  readonly #network = new Network(netBits);
  readonly #hostSteps: HostSteps;
  readonly #storeSteps: StoreSteps;
  readonly #fields: Int32Array;
  readonly #next: Int32Array;
  /** For questions that are asked in the middle of an expansion. */
  readonly #asked: Int32Array;
  readonly #words: Int32Array;
  readonly #seen = new Map<number, number | string>();
  readonly #collected = new Map<number, number>();
  readonly #orphans: (boolean | undefined)[] = [];
  readonly #ticking: (boolean | undefined)[][];
  readonly #walkAgrees = new Map<number, string | undefined>();
  readonly #rows = new Set<string>();
  readonly #tried = new Set<number>();
  readonly #genesis: CheckpointRef;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.#rules = { ...productionRules, ...options.rules };
    const widths = [storeBits, storeBits, netBits, ghostBits, budgetBits, ...options.hosts.map(() => hostBits)];
    this.#layout = new BitLayout(widths);
    this.words = this.#layout.words;
    this.#fields = new Int32Array(widths.length);
    this.#next = new Int32Array(widths.length);
    this.#asked = new Int32Array(widths.length);
    this.#words = new Int32Array(this.words);
    this.#hosts = options.hosts.map((name) => new Interner<Host>(`states of host ${name}`, hostBits));
    this.#ticking = options.hosts.map(() => []);
    const context: HostContext = {
      rules: this.#rules,
      digests: this.#digests,
      trustDataLock: options.trustDataLock ?? false,
      onRow: (row) => this.row(row),
    };
    this.#hostSteps = new HostSteps(context, {
      hosts: this.#hosts,
      stores: this.#stores,
      messages: this.#network.messages,
      ghostEvents: this.#ghostEvents,
    });
    this.#storeSteps = new StoreSteps(options, this.#rules);
    const [first = ""] = options.hosts;
    this.#genesis = this.#digests.write(first, { era: 0n, major: 0n }, undefined, undefined);
  }

  initial(): Int32Array {
    const [first, ...others] = this.options.hosts as [string, ...string[]];
    const genesis = this.#genesis;
    const incarnation = firstIncarnation;
    const fields = new Int32Array(at.hosts + this.options.hosts.length);
    const live = (name: string): Host => ({
      ...crashed({ name, boots: 1, relinquished: undefined, staged: undefined } as Host),
      up: true,
      session: { bootId: "1", incarnation },
      held: [genesis],
      journal: { phase: "replica" },
    });
    const sessions = Object.fromEntries(
      this.options.hosts.map((name) => [sessionName({ hostId: name, bootId: "1" }), { incarnation, closed: false }]),
    );
    fields[at.store] = this.#stores.number({
      mark: { incarnation, counter: 0n, quarantine: false, storeIdentity: "s" },
      identity: "s",
      record: undefined,
      sessions,
      holders: {},
    });
    // Nothing is saved: the first state of the store stands for that.
    fields[at.saved] = fields[at.store] as number;
    fields[at.net] = 0;
    fields[at.ghost] = this.#ghosts.number({ terms: [], mark: { incarnation, counter: 0n } });
    fields[at.budget] = packBudgets(this.options.budgets);
    const creator: Host = { ...live(first), journal: { phase: "acquiring", bootId: "1" }, supervised: true };
    [creator, ...others.map(live)].forEach((host, index) => {
      fields[at.hosts + index] = (this.#hosts[index] as Interner<Host>).number(host);
    });
    const words = new Int32Array(this.words);
    this.#layout.pack(fields, words);
    if (this.options.begins === "acquiring") return words;
    const steps = ["asks the registry, and acts on it", "acquire of", "hears: acquire applied"];
    let state: Int32Array = words;
    for (const event of [...steps, ...others.map(() => "announces what it holds")]) state = this.#go(state, event);
    return state;
  }

  /** The first successor by an event whose name begins like this. */
  #go(state: Int32Array, event: string): Int32Array {
    let found: Int32Array | undefined;
    this.expand(state, (next, step) => {
      if (found === undefined && step.event.startsWith(event)) found = next.slice();
    });
    if (found === undefined) throw new Error(`the beginning needs "${event}"`);
    return found;
  }

  expand(state: Int32Array, emit: Emit): void {
    const fields = this.#fields;
    this.#layout.unpack(state, fields);
    const store = this.#stores.value(fields[at.store] as number);
    const budget = fields[at.budget] as number;
    const serving = isServing(store);
    for (let index = 0; index < this.#hosts.length; index++) {
      const host = fields[at.hosts + index] as number;
      for (const move of this.#hostSteps.alone(index, host)) {
        if (canPay(budget, move.cost)) this.#take(index, move, emit);
      }
      if (serving) {
        for (const move of this.#hostSteps.withStore(index, host, fields[at.store] as number)) {
          if (canPay(budget, move.cost)) this.#take(index, move, emit);
        }
      }
      const report = this.#hostSteps.report(index, host);
      if (report !== undefined && !this.#isReporting(index)) this.#take(index, report, emit);
      this.#giveUpWaiting(index, host, emit);
      this.#streams(index, host, emit);
      this.#betweenHosts(index, host, emit);
    }
    this.#deliver(serving, emit);
    if (serving && this.options.strangers) this.#strangers(fields[at.store] as number, emit);
    if (serving && left(budget, "forces") > 0) this.#force(store, emit);
    this.#registryAndStore(store, emit);
  }

  violation(state: Int32Array): string | undefined {
    const fields = this.#asked;
    this.#layout.unpack(state, fields);
    let ticking = 0;
    for (let index = 0; index < this.#hosts.length; index++) if (this.#isTicking(index, fields)) ticking++;
    if (ticking > 1) return "EI-1: two hosts could commit a tick at the same moment";
    const key = (fields[at.store] as number) * 2 ** ghostBits + (fields[at.ghost] as number);
    let wrong = this.#walkAgrees.get(key);
    if (wrong === undefined && !this.#walkAgrees.has(key)) {
      const store = this.#stores.value(fields[at.store] as number);
      wrong = lineagesOf(this.#rules, this.#digests, store, this.#ghosts.value(fields[at.ghost] as number));
      this.#walkAgrees.set(key, wrong);
    }
    return wrong;
  }

  isGoal(state: Int32Array): boolean {
    const fields = this.#asked;
    this.#layout.unpack(state, fields);
    for (let index = 0; index < this.#hosts.length; index++) if (this.#isTicking(index, fields)) return true;
    const { record } = this.#stores.value(fields[at.store] as number);
    return record?.terminated !== undefined;
  }

  describe(state: Int32Array): ReadonlyMap<string, string> {
    const fields = new Int32Array(this.#fields.length);
    this.#layout.unpack(state, fields);
    const parts = new Map<string, string>();
    describeStore(this.#stores.value(fields[at.store] as number), parts);
    this.#hosts.forEach((hosts, index) => {
      describeHost(hosts.value(fields[at.hosts + index] as number), parts);
    });
    const flying = this.#network.get(fields[at.net] as number).map((id) => describeMessage(this.#network.message(id)));
    parts.set("in flight", flying.join("; "));
    describeGhost(this.#ghosts.value(fields[at.ghost] as number), parts);
    if (fields[at.saved] !== 0) parts.set("saved", `store ${fields[at.saved]}`);
    return parts;
  }

  /** How many different parts there are. */
  get sizes(): Readonly<Record<string, number>> {
    return {
      stores: this.#stores.size,
      nets: this.#network.bags.size,
      messages: this.#network.messages.size,
      ghosts: this.#ghosts.size,
      hosts: Math.max(...this.#hosts.map((hosts) => hosts.size)),
    };
  }

  get budgets(): string {
    return describeBudgets(packBudgets(this.options.budgets));
  }

  #isTicking(index: number, fields: Int32Array): boolean {
    const host = fields[at.hosts + index] as number;
    const known = this.#ticking[index] as (boolean | undefined)[];
    let ticking = known[host];
    if (ticking === undefined) {
      ticking = canTick(this.#rules, (this.#hosts[index] as Interner<Host>).value(host));
      known[host] = ticking;
    }
    return ticking;
  }

  /** A host's step as it was worked out, on the present fields. */
  #take(index: number, move: Move, emit: Emit, net = this.#fields[at.net] as number, fault = move.step.fault): void {
    const next = this.#start();
    next[at.hosts + index] = move.host;
    if (move.store >= 0) next[at.store] = move.store;
    next[at.budget] = (next[at.budget] as number) - move.cost;
    next[at.net] = move.drops ? this.#hostSteps.forgetReceiver(this.#network, index, net, move.drops) : net;
    for (const message of move.sends) next[at.net] = this.#network.add(next[at.net] as number, message);
    this.#finish(move.ghost, fault === move.step.fault ? move.step : { ...move.step, fault }, emit);
  }

  #start(): Int32Array {
    this.#next.set(this.#fields);
    return this.#next;
  }

  /** The onlooker sees what happened, what can do nothing any more is forgotten, and the state goes out. */
  #finish(ghostEvents: readonly number[], step: Step, emit: Emit): void {
    const next = this.#next;
    let seen = step;
    for (const event of ghostEvents) {
      const after = this.#see(next[at.ghost] as number, event);
      if (typeof after === "string") seen = { ...step, violation: after };
      else next[at.ghost] = after;
    }
    if (this.#hasOrphans(next[at.net] as number)) this.#collect(next);
    this.#layout.pack(next, this.#words);
    emit(this.#words, seen);
  }

  #see(ghost: number, event: number): number | string {
    const key = ghost * 2 ** 20 + event;
    let after = this.#seen.get(key);
    if (after === undefined) {
      const seen = see(this.#ghosts.value(ghost), this.#ghostEvents.value(event));
      after = "violation" in seen ? seen.violation : this.#ghosts.number(seen.ghost);
      this.#seen.set(key, after);
    }
    return after;
  }

  #hasOrphans(net: number): boolean {
    let orphans = this.#orphans[net];
    if (orphans === undefined) {
      orphans = this.#network.get(net).some((id) => {
        const message = this.#network.message(id);
        return (message.kind === "request" || message.kind === "reassert") && !message.reply;
      });
      this.#orphans[net] = orphans;
    }
    return orphans;
  }

  #collect(next: Int32Array): void {
    const key = (next[at.net] as number) * 2 ** storeBits + (next[at.store] as number);
    let net = this.#collected.get(key);
    if (net === undefined) {
      const store = this.#stores.value(next[at.store] as number);
      net = this.#network.map(next[at.net] as number, (message) =>
        (message.kind === "request" || message.kind === "reassert") &&
        !message.reply &&
        this.#storeSteps.isPast(store, message)
          ? undefined
          : message,
      );
      this.#collected.set(key, net);
    }
    next[at.net] = net;
  }

  /** A caller gives up on an answer: for free when nothing is under way, otherwise it was lost or is late. */
  #giveUpWaiting(index: number, host: number, emit: Emit): void {
    const waits = this.#hostSteps.waits(index, host);
    if (waits.length === 0) return;
    const net = this.#fields[at.net] as number;
    for (const { slot, move } of waits) {
      const name = this.options.hosts[index] as string;
      const under = this.#network.get(net).some((id) => isOfCall(this.#network.message(id), name, slot));
      if (!under) {
        this.#take(index, move, emit);
        continue;
      }
      const cost = costOf("losses");
      if (!canPay(this.#fields[at.budget] as number, cost)) continue;
      const after = this.#network.map(net, (message) => {
        if (!isOfCall(message, name, slot)) return message;
        return message.kind === "request" || message.kind === "reassert" ? { ...message, reply: false } : undefined;
      });
      this.#take(index, { ...move, cost }, emit, after, true);
    }
  }

  #isReporting(index: number): boolean {
    const name = this.options.hosts[index] as string;
    return this.#network
      .get(this.#fields[at.net] as number)
      .some((id) => isOfCall(this.#network.message(id), name, "report"));
  }

  /** Streams that break, or whose other end is gone. */
  #streams(index: number, host: number, emit: Emit): void {
    const stream = this.#hostSteps.stream(index, host);
    if (stream === undefined) return;
    const name = this.options.hosts[index] as string;
    const peer = this.options.hosts.indexOf(stream.peer);
    const peerStream = this.#hostSteps.stream(peer, this.#fields[at.hosts + peer] as number);
    const linked =
      peerStream?.handoffId === stream.handoffId && peerStream.peer === name && peerStream.side !== stream.side;
    const net = this.#fields[at.net] as number;
    const isFrame = (message: Message): boolean =>
      (message.kind === "handoff" || message.kind === "started" || message.kind === "refused") &&
      (message.kind === "handoff" ? message.token.handoffId : message.handoffId) === stream.handoffId;
    const coming = this.#network.get(net).some((id) => {
      const message = this.#network.message(id);
      return isFrame(message) && "to" in message && message.to === name;
    });
    if (!linked) {
      if (!coming) this.#take(index, stream.closed, emit);
      return;
    }
    const cost = costOf("losses");
    if (!canPay(this.#fields[at.budget] as number, cost)) return;
    const after = this.#network.map(net, (message) => (isFrame(message) ? undefined : message));
    this.#take(index, { ...stream.closed, cost }, emit, after, true);
    if (stream.deadline !== undefined) this.#take(index, { ...stream.deadline, cost }, emit, net, true);
  }

  #betweenHosts(index: number, host: number, emit: Emit): void {
    const fields = this.#fields;
    for (let other = 0; other < this.#hosts.length; other++) {
      if (other === index) continue;
      const target = fields[at.hosts + other] as number;
      for (const { moves, step } of this.#hostSteps.toPeer(
        index,
        host,
        other,
        target,
        left(fields[at.budget] as number, "migrations"),
      )) {
        const cost = moves.reduce((sum, move) => sum + move.cost, 0);
        if (!canPay(fields[at.budget] as number, cost)) continue;
        const next = this.#start();
        const ghost: number[] = [];
        for (const move of moves) {
          next[at.hosts + move.index] = move.host;
          for (const message of move.sends) next[at.net] = this.#network.add(next[at.net] as number, message);
          ghost.push(...move.ghost);
        }
        next[at.budget] = (next[at.budget] as number) - cost;
        this.#finish(ghost, step, emit);
      }
    }
  }

  #deliver(serving: boolean, emit: Emit): void {
    const fields = this.#fields;
    const net = fields[at.net] as number;
    const bag = this.#network.get(net);
    for (let position = 0; position < bag.length; position++) {
      const id = bag[position] as number;
      if (position > 0 && bag[position - 1] === id) continue;
      const message = this.#network.message(id);
      if (message.kind === "request" || message.kind === "reassert") {
        if (serving) this.#serve(id, net, emit);
        continue;
      }
      const index = this.options.hosts.indexOf(message.to);
      const move = this.#hostSteps.hears(index, fields[at.hosts + index] as number, id, message);
      this.#take(index, move, emit, this.#network.remove(net, id));
    }
  }

  #serve(id: number, net: number, emit: Emit): void {
    const fields = this.#fields;
    const served = this.#storeSteps.served(fields[at.store] as number, id, () => {
      const store = this.#stores.value(fields[at.store] as number);
      const message = this.#network.message(id);
      const { result, response, step } =
        message.kind === "reassert" ? this.#reassert(store, message) : this.#command(store, message);
      return {
        store: this.#stores.number(result.store),
        response: response === undefined ? -1 : this.#network.messages.number(response),
        kept: this.#network.messages.number({ ...message, reply: false } as Message),
        ghost: result.ghost.map((event) => this.#ghostEvents.number(event)),
        step,
        again: { ...step, fault: true, event: `${step.event} (and it stays under way)` },
      };
    });
    const without = this.#network.remove(net, id);
    const after = served.response < 0 ? without : this.#network.add(without, served.response);
    const next = this.#start();
    next[at.store] = served.store;
    next[at.net] = after;
    this.#finish(served.ghost, served.step, emit);

    const cost = costOf("duplicates");
    if (!canPay(fields[at.budget] as number, cost)) return;
    const twice = this.#start();
    twice[at.store] = served.store;
    twice[at.net] = this.#network.add(after, served.kept);
    twice[at.budget] = (twice[at.budget] as number) - cost;
    this.#finish(served.ghost, served.again, emit);
  }

  #command(store: Store, message: Message) {
    if (message.kind !== "request") throw new TypeError("only requests are served");
    const result = serve(this.#rules, this.#digests, store, message);
    this.row(`§4 ${result.row}`);
    if (result.also !== undefined) this.row(result.also);
    const { from: to, slot, reply, command } = message;
    // Nobody waits to hear that a report was applied.
    const answered = reply && !(slot === "report" && result.answer.kind === "applied");
    const response: Message | undefined = answered
      ? { kind: "response", to, slot, commandId: command.id, answer: result.answer }
      : undefined;
    const event = `${command.kind} of ${to}: ${result.row.slice(command.kind.length + 1)}`;
    const step: Step = { who: "registry", event, fault: false, violation: result.violation };
    return { result, response, step };
  }

  #reassert(store: Store, message: Extract<Message, { kind: "reassert" }>) {
    const result = serveReassert(this.#rules, store, message);
    this.row(result.row);
    const { from: to, reply } = message;
    const { decision, violation } = result;
    const response: Message | undefined = reply ? { kind: "reasserted", to, slot: "reassert", decision } : undefined;
    const step: Step = { who: "registry", event: `reassert of ${to}: ${result.row}`, fault: false, violation };
    return { result, response, step };
  }

  /** Once for each state of the store: a stranger's command leaves it as it is. */
  #strangers(number: number, emit: Emit): void {
    if (this.#tried.has(number)) return;
    this.#tried.add(number);
    const store = this.#stores.value(number);
    for (const { command, facts } of strangeCommands(store, this.#genesis)) {
      const { store: after, row, violation } = serve(this.#rules, this.#digests, store, { command }, facts);
      this.row(`§4 ${row}`);
      if (after === store && violation === undefined && !row.endsWith(" applied")) continue;
      const step: Step = {
        who: "stranger",
        event: `sends ${row}`,
        fault: true,
        violation: violation ?? `a command of a stranger was taken: ${row}`,
      };
      this.#start()[at.store] = this.#stores.number(after);
      this.#finish([], step, emit);
    }
  }

  /** An operator states that nothing acceptable is left, and chooses what some host holds (§4, the last row). */
  #force(store: Store, emit: Emit): void {
    const fields = this.#fields;
    const { mark, record } = store;
    if (mark === undefined) return;
    const held = this.#hosts.flatMap((known, index) => known.value(fields[at.hosts + index] as number).held);
    for (const head of new Map(held.map((ref) => [ref.digest, ref])).values()) {
      const command: ForceRecover = {
        id: `operator@${record?.revision ?? 0n}:${head.digest}`,
        incarnation: mark.incarnation,
        agentId: "agent",
        kind: "force_recover",
        revision: record?.revision ?? 0n,
        head,
        operator: { name: "operator", reason: "nothing else is left" },
        noneAcceptable: true,
      };
      const result = serve(this.#rules, this.#digests, store, { command });
      this.row(`§4 ${result.row}`);
      if (result.also !== undefined) this.row(result.also);
      if (result.store === store) continue;
      const next = this.#start();
      next[at.store] = this.#stores.number(result.store);
      next[at.budget] = (next[at.budget] as number) - costOf("forces");
      const step: Step = { who: "operator", event: `chooses ${head.digest}`, fault: true, violation: result.violation };
      this.#finish([], step, emit);
    }
  }

  #registryAndStore(store: Store, emit: Emit): void {
    const fields = this.#fields;
    const hosts = this.#hosts.map((known, index) => known.value(fields[at.hosts + index] as number));
    const ghost = fields[at.ghost] as number;
    const moves = this.#storeSteps.alone({
      store,
      hosts,
      saved: this.#stores.value(fields[at.saved] as number),
      isSaved: fields[at.saved] !== 0,
      newest: this.#ghosts.value(ghost).mark,
      budget: fields[at.budget] as number,
    });
    for (const move of moves) {
      const next = this.#start();
      if (move.store !== undefined) next[at.store] = this.#stores.number(move.store);
      if (move.save) next[at.saved] = next[at.store] as number;
      next[at.budget] = (next[at.budget] as number) - move.cost;
      if (move.row !== undefined) this.row(move.row);
      const mark = move.mark && { incarnation: move.mark.incarnation, counter: move.mark.counter };
      this.#finish(mark === undefined ? [] : [this.#ghostEvents.number({ kind: "marked", mark })], move.step, emit);
    }
  }

  row(row: string): void {
    if (this.#rows.has(row)) return;
    this.#rows.add(row);
    this.options.onRow?.(row);
  }
}

function isOfCall(message: Message, host: string, slot: string): boolean {
  if (message.kind === "request" || message.kind === "reassert")
    return message.from === host && message.slot === slot && message.reply;
  return (message.kind === "response" || message.kind === "reasserted") && message.to === host && message.slot === slot;
}

export type { BudgetName, Draft };
