// What a host can do, worked out once for each of its states, and for each pair of a state and what it meets.

import type { Interner } from "../engine/interner.ts";
import type { Step } from "../engine/search.ts";
import { type BudgetName, costOf } from "./budgets.ts";
import {
  canTick,
  confirmBase,
  crashed,
  Draft,
  giveUp,
  type HostContext,
  isAtRest,
  leaseOf,
  loseGrant,
  nowOf,
  reasserted,
  reassertItem,
  renewed,
  report,
  reported,
  sessionVoid,
  settle,
  supervise,
  superviseNoMore,
  tenancyAnswered,
  tick,
  withCheckpoint,
} from "./host.ts";
import type { Network } from "./network.ts";
import {
  announced,
  isLost,
  isOffered,
  readingOf,
  standingOfSession,
  waitsToBeAsked,
  withAnnounced,
  withClosed,
  withSession,
} from "./registry.ts";
import {
  beginAnswered,
  mustTickToFreeze,
  revert,
  revertAnswered,
  sourceHears,
  startHandoff,
  tellResolved,
} from "./source-side.ts";
import { claimAnswered, expectHandoff, handoffArrives, mayExpectHandoff, promote, targetHears } from "./target-side.ts";
import { type GhostEvent, type Host, type Message, type Slot, type Store, sessionId, sessionName } from "./world.ts";

export interface Move {
  readonly index: number;
  readonly host: number;
  /** -1: as it was. */
  readonly store: number;
  readonly sends: readonly number[];
  readonly ghost: readonly number[];
  readonly cost: number;
  /** The process has ended: what was on its way to it is gone, with `frames` also what it had sent to its peers. */
  readonly drops: "mail" | "frames" | undefined;
  readonly step: Step;
}

export interface Joint {
  readonly moves: readonly Move[];
  readonly step: Step;
}

export interface Stream {
  readonly side: "source" | "target";
  readonly peer: string;
  readonly handoffId: string;
  readonly closed: Move;
  /** The source stops waiting for STARTED, and what it sent is still under way. */
  readonly deadline: Move | undefined;
}

interface Tables {
  readonly hosts: readonly Interner<Host>[];
  readonly stores: Interner<Store>;
  readonly messages: Interner<Message>;
  readonly ghostEvents: Interner<GhostEvent>;
}

interface Known {
  readonly alone: readonly Move[];
  readonly waits: readonly { readonly slot: Slot; readonly move: Move }[];
  readonly stream: Stream | undefined;
  readonly report: Move | undefined;
}

interface What {
  readonly event: string;
  readonly cost?: readonly BudgetName[];
  readonly fault?: boolean;
  readonly who?: string;
}

const nothing: readonly never[] = [];

export class HostSteps {
  readonly #context: HostContext;
  readonly #tables: Tables;
  readonly #known: Known[][];
  readonly #withStore: Map<number, readonly Move[]>[];
  readonly #heard: Map<number, Move>[];
  readonly #toPeer = new Map<string, Map<number, readonly Joint[]>>();
  readonly #forgotten = new Map<string, Map<number, number>>();

  constructor(context: HostContext, tables: Tables) {
    this.#context = context;
    this.#tables = tables;
    this.#known = tables.hosts.map(() => []);
    this.#withStore = tables.hosts.map(() => new Map());
    this.#heard = tables.hosts.map(() => new Map());
  }

  alone(index: number, host: number): readonly Move[] {
    return this.#know(index, host).alone;
  }

  waits(index: number, host: number): Known["waits"] {
    return this.#know(index, host).waits;
  }

  stream(index: number, host: number): Stream | undefined {
    return this.#know(index, host).stream;
  }

  /** One report at a time (head-reports.ts), so only while none is under way. */
  report(index: number, host: number): Move | undefined {
    return this.#know(index, host).report;
  }

  withStore(index: number, host: number, store: number): readonly Move[] {
    const known = this.#withStore[index] as Map<number, readonly Move[]>;
    const key = host * 2 ** 21 + store;
    let moves = known.get(key);
    if (moves === undefined) {
      moves = this.#atStore(index, this.#host(index, host), this.#tables.stores.value(store));
      known.set(key, moves.length === 0 ? nothing : moves);
    }
    return moves;
  }

  hears(index: number, host: number, id: number, message: Message): Move {
    const known = this.#heard[index] as Map<number, Move>;
    const key = host * 2 ** 21 + id;
    let move = known.get(key);
    if (move === undefined) {
      move = this.#hear(index, this.#host(index, host), message);
      known.set(key, move);
    }
    return move;
  }

  toPeer(index: number, host: number, other: number, target: number, migrations: number): readonly Joint[] {
    const kind = `${index}${other}${migrations}`;
    let known = this.#toPeer.get(kind);
    if (known === undefined) {
      known = new Map();
      this.#toPeer.set(kind, known);
    }
    const key = host * 2 ** 21 + target;
    let joints = known.get(key);
    if (joints === undefined) {
      joints = this.#joint(
        { index, host: this.#host(index, host) },
        { index: other, host: this.#host(other, target) },
        migrations,
      );
      known.set(key, joints.length === 0 ? nothing : joints);
    }
    return joints;
  }

  /** What is left under way when a process has ended. */
  forgetReceiver(network: Network, index: number, net: number, drops: "mail" | "frames"): number {
    const kind = `${index}${drops}`;
    let known = this.#forgotten.get(kind);
    if (known === undefined) {
      known = new Map();
      this.#forgotten.set(kind, known);
    }
    let after = known.get(net);
    if (after === undefined) {
      const name = this.#host(index, 0).name;
      after = network.map(net, (message) => {
        if (message.kind === "request" || message.kind === "reassert")
          return message.from === name ? { ...message, reply: false } : message;
        if (message.to === name) return undefined;
        const sentHere =
          (message.kind === "handoff" && message.token.sourceHostId === name) ||
          ((message.kind === "started" || message.kind === "refused") && message.to !== name);
        return drops === "frames" && sentHere ? undefined : message;
      });
      known.set(net, after);
    }
    return after;
  }

  #host(index: number, host: number): Host {
    return (this.#tables.hosts[index] as Interner<Host>).value(host);
  }

  #know(index: number, host: number): Known {
    const known = this.#known[index] as Known[];
    let entry = known[host];
    if (entry === undefined) {
      const value = this.#host(index, host);
      entry = {
        alone: this.#alone(index, value),
        waits: this.#waits(index, value),
        stream: this.#stream(index, value),
        report:
          value.untold && value.tenure.kind === "ACTIVE_OWNER"
            ? this.#step(index, value, { event: "reports its head" }, report)
            : undefined,
      };
      known[host] = entry;
    }
    return entry;
  }

  /** Runs a step on a draft; what the production machines will not hear is a violation. */
  #move(
    index: number,
    host: Host,
    { event, cost = [], fault, who = host.name }: What,
    work: (draft: Draft) => Store | undefined,
  ): Move {
    const draft = new Draft(this.#context, host);
    let violation: string | undefined;
    let store: Store | undefined;
    try {
      store = work(draft);
      settleDown(draft);
    } catch (cause) {
      violation = `a driver did what its machine does not allow: ${cause instanceof Error ? cause.message : String(cause)}`;
    }
    return {
      index,
      host: (this.#tables.hosts[index] as Interner<Host>).number(draft.host),
      store: store === undefined ? -1 : this.#tables.stores.number(store),
      sends: draft.sends.map((message) => this.#tables.messages.number(message)),
      ghost: draft.ghost.map((seen) => this.#tables.ghostEvents.number(seen)),
      cost: costOf(...cost),
      drops: undefined,
      step: { who, event, fault: fault ?? cost.length > 0, violation },
    };
  }

  /** A step that leaves the store as it is. */
  #step(index: number, host: Host, what: What, work: (draft: Draft) => void): Move {
    return this.#move(index, host, what, (draft) => {
      work(draft);
      return undefined;
    });
  }

  #alone(index: number, host: Host): readonly Move[] {
    const moves: Move[] = [];
    const add = (what: What, work: (draft: Draft) => void): void => {
      moves.push(this.#step(index, host, what, work));
    };
    if (!host.up) return moves;
    const { rules } = this.#context;
    const ticking = canTick(rules, host);
    const free = host.call === undefined;
    if (ticking && host.wish === undefined) add({ event: "ticks", cost: ["ticks"] }, tick);
    if (host.promoting) add({ event: "promotes what it had staged" }, promote);
    if (host.tenure.kind === "ACTIVE_OWNER" && host.supervised && free && host.session !== undefined) {
      if (!host.tenure.baseConfirmed) add({ event: "confirms its base" }, confirmBase);
      else if (host.wish !== undefined && ticking) {
        const { wish } = host;
        add({ event: `gives up again (${wish.command})` }, (draft) => giveUp(draft, wish));
      }
    }
    if (ticking && free && host.source === undefined && host.wish === undefined) {
      add({ event: "is told to stop the agent", cost: ["releases"] }, (draft) =>
        giveUp(draft, { command: "release", reason: "stopped" }),
      );
      add({ event: "releases the agent, to be taken up", cost: ["releases"] }, (draft) =>
        giveUp(draft, { command: "release", reason: "drained" }),
      );
      add({ event: "declares that it is in doubt", cost: ["releases"] }, (draft) =>
        giveUp(draft, { command: "declare_recovery", reason: undefined }),
      );
      add({ event: "terminates the agent", cost: ["releases"] }, (draft) =>
        giveUp(draft, { command: "terminate", reason: undefined }),
      );
    }
    if (host.session !== undefined && !host.lapsed) {
      add({ event: "its deadline passes", cost: ["expiries"] }, (draft) => draft.set({ lapsed: true }));
    }
    const crash = this.#step(index, host, { event: "crashes", cost: ["crashes"] }, (draft) => {
      draft.host = crashed(host);
    });
    moves.push({ ...crash, drops: "mail" });
    if (host.source !== undefined || host.target !== undefined) {
      const event = "crashes, and what it was sending is cut off";
      moves.push({ ...crash, drops: "frames", step: { ...crash.step, event } });
    }
    return moves;
  }

  #waits(index: number, host: Host): Known["waits"] {
    const waits: { slot: Slot; move: Move }[] = [];
    const { call, target } = host;
    if (call !== undefined) {
      const event = `gives up waiting for the answer to ${call.purpose}`;
      const move = this.#step(index, host, { event }, (draft) => {
        draft.set({ call: undefined, nonce: host.nonce + 1 });
        answered(draft, call, { kind: "unknown" });
      });
      waits.push({ slot: "tenancy", move });
    }
    if (host.reasserting) {
      const event = "gives up waiting for the answer to reassert";
      waits.push({
        slot: "reassert",
        move: this.#step(index, host, { event }, (draft) => draft.set({ reasserting: false })),
      });
    }
    if (target?.waiting) {
      const event = "gives up waiting for the answer to claim";
      const move = this.#step(index, host, { event }, (draft) => claimAnswered(draft, { kind: "unknown" }));
      waits.push({ slot: "arrival", move });
    }
    return waits;
  }

  #stream(index: number, host: Host): Stream | undefined {
    const { source, target } = host;
    const reason = "cut";
    if (source?.streamOpen) {
      const { handoffId, targetHostId } = source.state.plan;
      const waiting = source.state.phase.kind === "handing-off";
      return {
        side: "source",
        peer: targetHostId,
        handoffId,
        closed: this.#step(index, host, { event: "sees its stream closed" }, (draft) => {
          draft.set({ source: { ...source, streamOpen: false } });
          sourceHears(draft, { kind: "stream-closed", reason });
        }),
        deadline: waiting
          ? this.#step(index, host, { event: "waits no longer for STARTED" }, (draft) =>
              sourceHears(draft, { kind: "deadline", awaited: "started", afterMs: 0 }),
            )
          : undefined,
      };
    }
    if (!target?.streamOpen) return undefined;
    return {
      side: "target",
      peer: target.sourceHostId,
      handoffId: target.state.handoffId,
      closed: this.#step(index, host, { event: "sees its stream closed" }, (draft) => {
        draft.set({ target: { ...target, streamOpen: false } });
        targetHears(draft, { kind: "stream-closed", reason });
      }),
      deadline: undefined,
    };
  }

  #hear(index: number, host: Host, message: Message): Move {
    switch (message.kind) {
      case "reasserted": {
        const { decision } = message;
        return this.#step(index, host, { event: `hears: reassert ${decision.kind}` }, (draft) =>
          reasserted(draft, decision),
        );
      }
      case "request":
      case "reassert":
        throw new TypeError("a host serves no requests");
      case "response": {
        const { slot, answer, commandId } = message;
        const what = answer.kind === "refused" ? `refused (${answer.code})` : answer.kind;
        if (slot === "report") {
          return this.#step(index, host, { event: `hears: head ${what}` }, (draft) =>
            reported(draft, answer, commandId),
          );
        }
        if (slot === "arrival") {
          return this.#step(index, host, { event: `hears: claim ${what}` }, (draft) => claimAnswered(draft, answer));
        }
        const { call } = host;
        const event = `hears: ${call?.purpose ?? "something"} ${what}`;
        return this.#step(index, host, { event }, (draft) => {
          if (call === undefined || call.commandId !== commandId) return;
          draft.set({ call: undefined });
          answered(draft, call, answer);
        });
      }
      case "handoff":
        return this.#step(index, host, { event: "gets HANDOFF" }, (draft) => handoffArrives(draft, message));
      case "started": {
        const { handoffId, digest: checkpointDigest, era, major } = message;
        return this.#step(index, host, { event: "gets STARTED" }, (draft) =>
          sourceHears(draft, {
            kind: "frame",
            frame: { kind: "started", handoffId, agentId: "agent", checkpointDigest, era, major },
          }),
        );
      }
      case "refused": {
        const failure = { class: "retriable", fault: { code: "INTERNAL" } } as const;
        return this.#step(index, host, { event: "gets REFUSED" }, (draft) =>
          sourceHears(draft, { kind: "frame", frame: { kind: "refused", handoffId: message.handoffId, failure } }),
        );
      }
    }
  }

  /** Steps that read or change the store in one go with the host. */
  #atStore(index: number, host: Host, store: Store): readonly Move[] {
    const moves: Move[] = [];
    const { session, name } = host;
    const add = (
      event: string,
      work: (draft: Draft) => Store | undefined,
      extra: { fault?: boolean; who?: string } = {},
    ): void => {
      const move = this.#move(index, host, { event, ...extra }, work);
      const before = (this.#tables.hosts[index] as Interner<Host>).number(host);
      const storeBefore = this.#tables.stores.number(store);
      const same = move.host === before && (move.store < 0 || move.store === storeBefore) && move.sends.length === 0;
      if (!same || move.step.violation !== undefined) moves.push(move);
    };
    if (session === undefined) {
      if (store.mark?.quarantine) this.#context.onRow("GA-6 in quarantine a session is opened");
      add(host.up ? "opens a session" : "starts again, and opens a session", (draft) => {
        const bootId = `${host.boots + 1}`;
        const incarnation = store.mark?.incarnation ?? "";
        if (!host.up && !isAtRest(host.journal)) {
          draft.set({ up: true });
          supervise(draft);
        }
        draft.set({ up: true, boots: host.boots + 1, session: { bootId, incarnation }, lapsed: false });
        return withSession(store, sessionName({ hostId: name, bootId }), incarnation);
      });
      return moves;
    }
    const sessionKey = sessionName(sessionId(name, session));
    const stands = standingOfSession(store, sessionKey, session);
    const quarantine = store.mark?.quarantine ?? false;
    if (quarantine && stands === "open" && host.lapsed) this.#context.onRow("GA-6 in quarantine a session is renewed");
    const incarnation = store.mark?.incarnation ?? "";
    if (stands === "moved-on" && quarantine) {
      // GA-7, GA-8: the session is brought over, unless its deadline ever passed; then a new one is opened at once.
      const from = this.#context.rules.reassertsFrom(leaseOf(host), incarnation, nowOf(host));
      const recorded = store.sessions[sessionKey];
      const brought =
        from === undefined || store.mark === undefined
          ? undefined
          : this.#context.rules.reassertSession(
              recorded && { ...recorded, generation: 0n },
              { generation: 0n, from },
              store.mark,
            );
      if (brought?.kind === "brought-over") this.#context.onRow("GA-7 a session is brought over");
      else if (from === undefined)
        this.#context.onRow("GA-8 a deadline that passed brings nothing over: a new session is opened");
      else if (recorded?.closed) this.#context.onRow("GA-7 a session that was closed is not brought back");
      if (brought?.kind === "brought-over") {
        add("brings its session over to the new incarnation", (draft) => {
          renewed(draft, "reasserted", incarnation);
          return withSession(store, sessionKey, incarnation);
        });
        return moves;
      }
    }
    if (stands === "open" && host.lapsed) {
      add("renews its session, late", (draft) => {
        renewed(draft, "renewed", incarnation);
        return undefined;
      });
    } else if (stands !== "open") {
      add("hears that its session is void", (draft) => {
        sessionVoid(draft);
        return undefined;
      });
    }
    if (host.supervised && host.tenure.kind === "RECOVERY_REQUIRED" && host.call === undefined) {
      add("asks the registry, and acts on it", (draft) => {
        settle(draft, readingOf(store));
        return draft.closes === undefined
          ? undefined
          : withClosed(store, sessionName({ hostId: name, bootId: draft.closes }));
      });
    }
    if (host.source?.revertDue && host.call === undefined) {
      add("reads the record, and reverts", (draft) => {
        revert(draft, readingOf(store));
        return undefined;
      });
    }
    if (stands !== "open") return moves;
    if (quarantine && session.from !== undefined && !host.reasserting && host.supervised) {
      add("reasserts the agent", (draft) => {
        const found = reassertItem(draft);
        if (found === undefined) return undefined;
        const { item, from } = found;
        const message = {
          kind: "reassert",
          from: name,
          slot: "reassert",
          reply: true,
          item,
          session: sessionId(name, session),
          incarnation: from,
          under: incarnation,
        } as const;
        draft.sends.push(message);
        draft.set({ reasserting: true });
        return undefined;
      });
    }
    if (!quarantine && grantIncarnation(host) !== undefined && grantIncarnation(host) !== incarnation) {
      add("hears that its grant was not brought over", (draft) => {
        loseGrant(draft);
        return undefined;
      });
    }
    if (!host.supervised && isLost(store) && host.held.length > 0 && host.journal.phase !== "terminated") {
      add("hears of the loss, and looks at what it holds", (draft) => {
        supervise(draft);
        return undefined;
      });
    }
    const announces = !host.supervised || host.tenure.kind === "RECOVERY_REQUIRED";
    const newest = announces && host.journal.phase !== "terminated" ? host.held[0] : undefined;
    const next = withAnnounced(store, sessionKey, newest);
    if (next !== store && quarantine) this.#context.onRow("GA-6 in quarantine what is held is announced");
    if (next !== store)
      add(newest === undefined ? "withdraws its announcement" : "announces what it holds", () => next);
    if (!host.asked && host.held.length > 0 && host.journal.phase !== "terminated") {
      const isAsked = (draft: Draft): undefined => {
        if (!host.supervised) supervise(draft);
        draft.set({ asked: true });
      };
      const holds = announced(store).length > 0 && store.holders[sessionKey] !== undefined;
      if (holds && isOffered(store)) add("is offered the agent", isAsked);
      if (waitsToBeAsked(store)) add("is asked by an operator to take the agent up", isAsked);
    }
    return moves;
  }

  #joint(from: { index: number; host: Host }, to: { index: number; host: Host }, migrations: number): readonly Joint[] {
    const joints: Joint[] = [];
    const { host } = from;
    const { host: other } = to;
    const newest = host.held[0];
    if (host.up && other.up && newest !== undefined && !other.supervised && other.journal.phase !== "terminated") {
      const [held] = other.held;
      const isNew = !other.held.some(({ digest }) => digest === newest.digest);
      if (host.tenure.kind === "ACTIVE_OWNER" && held !== undefined && isNew) {
        const move = this.#step(to.index, other, { event: "" }, (draft) => {
          draft.set({ held: withCheckpoint(other.held, newest) });
        });
        joints.push({
          moves: [move],
          step: { who: other.name, event: `gets a copy from ${host.name}`, fault: false, violation: undefined },
        });
      }
    }
    const mayLeave =
      canTick(this.#context.rules, host) &&
      host.source === undefined &&
      host.wish === undefined &&
      host.call === undefined;
    if (migrations > 0 && mayLeave && mayExpectHandoff(other)) {
      const handoffId = `h${migrations}`;
      const ticks = mustTickToFreeze({ host });
      const cost: readonly BudgetName[] = ticks ? ["migrations", "ticks"] : ["migrations"];
      const event = `migrates to ${other.name}${ticks ? ", after a tick" : ""}`;
      const leaves = this.#step(from.index, host, { event, cost }, (draft) =>
        startHandoff(draft, handoffId, other.name),
      );
      const arrives = this.#step(to.index, other, { event: "" }, (draft) => expectHandoff(draft, handoffId, host.name));
      joints.push({ moves: [leaves, arrives], step: leaves.step });
    }
    return joints;
  }
}

function answered(draft: Draft, call: NonNullable<Host["call"]>, answer: Parameters<typeof tenancyAnswered>[2]): void {
  if (call.purpose === "begin") {
    beginAnswered(draft, answer);
    return;
  }
  if (call.purpose === "revert") {
    revertAnswered(draft, answer);
    return;
  }
  tenancyAnswered(draft, call, answer);
}

/** The incarnation of the grant under which the host ticks, or was about to. */
function grantIncarnation({ supervised, tenure }: Host): string | undefined {
  if (!supervised || tenure.kind === "RECOVERY_REQUIRED" || tenure.kind === "RETIRED") return undefined;
  return tenure.grant.incarnation;
}

/** What follows at once from where a step has come to. */
function settleDown(draft: Draft): void {
  tellResolved(draft);
  if (draft.host.supervised && draft.host.tenure.kind === "RETIRED") superviseNoMore(draft);
}
