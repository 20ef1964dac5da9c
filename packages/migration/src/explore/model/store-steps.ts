// What the registry does of itself, and what happens to its store.
//
// SL-2, SL-3  A session is closed once its host's deadline has passed, or its host is gone.
// GA-6        A store that forgot, or is another one, is served again only under a new mark, in quarantine; that ends when every
//             lease of an earlier incarnation has passed its deadline.

import type { SeenMark, StoreMark } from "@godwit/common/lease";
import type { Step } from "../engine/search.ts";
import { canPay, costOf } from "./budgets.ts";
import { isServing, withClosed } from "./registry.ts";
import type { Rules } from "./rules.ts";
import { type Host, type Message, type Store, sessionId, sessionName } from "./world.ts";

export interface StoreMove {
  /** `undefined`: as it is. */
  readonly store: Store | undefined;
  /** What there is now is what a rollback goes back to. */
  readonly save: boolean;
  readonly cost: number;
  readonly step: Step;
  readonly row: string | undefined;
  /** A new mark, which is known from now on whatever the store forgets. */
  readonly mark: StoreMark | undefined;
}

/** What a step of the store depends on. */
export interface StoreView {
  readonly store: Store;
  readonly hosts: readonly Host[];
  readonly saved: Store;
  readonly isSaved: boolean;
  readonly newest: SeenMark;
  readonly budget: number;
}

export interface ServedMove {
  readonly store: number;
  readonly response: number;
  readonly kept: number;
  readonly ghost: readonly number[];
  readonly step: Step;
  readonly again: Step;
}

export interface StoreTiming {
  readonly timing?: { readonly closesEarly?: boolean; readonly quarantineTooShort?: boolean };
}

export class StoreSteps {
  readonly #timing: NonNullable<StoreTiming["timing"]>;
  readonly #served = new Map<number, ServedMove>();

  readonly #rules: Rules;

  constructor({ timing = {} }: StoreTiming, rules: Rules) {
    this.#rules = rules;
    this.#timing = timing;
  }

  served(store: number, message: number, work: () => ServedMove): ServedMove {
    const key = store * 2 ** 20 + message;
    let move = this.#served.get(key);
    if (move === undefined) {
      move = work();
      this.#served.set(key, move);
    }
    return move;
  }

  /** Whether the command can never be applied any more, whatever happens. */
  isPast({ mark, identity, record, sessions }: Store, message: Message): boolean {
    if (mark?.storeIdentity !== identity) return false;
    if (message.kind === "reassert") return message.under !== mark.incarnation || !mark.quarantine;
    if (message.kind !== "request") return false;
    const { command } = message;
    if (command.incarnation !== mark.incarnation) return true;
    const session = sessions[sessionName(command.caller)];
    if (session === undefined || session.closed) return true;
    if (record === undefined || record.incarnation !== mark.incarnation) return false;
    if (record.lastCommand === command.id) return true;
    if ("revision" in command) return command.revision < record.revision;
    return command.kind === "acquire";
  }

  alone(fields: StoreView): readonly StoreMove[] {
    const { store } = fields;
    return [
      ...(isServing(store) ? [...this.#closings(fields), ...this.#endOfQuarantine(fields)] : this.#newMark(fields)),
      ...this.#losses(fields),
    ];
  }

  #closings({ store, hosts }: StoreView): readonly StoreMove[] {
    const moves: StoreMove[] = [];
    for (const [name, { closed, incarnation }] of Object.entries(store.sessions)) {
      if (closed || incarnation !== store.mark?.incarnation) continue;
      const host = hosts.find(
        (one) => one.session !== undefined && name === sessionName(sessionId(one.name, one.session)),
      );
      if (host !== undefined && !host.lapsed && !this.#timing.closesEarly) continue;
      const step = {
        who: "registry",
        event: `closes session ${name}`,
        fault: host !== undefined,
        violation: undefined,
      };
      moves.push({
        ...still,
        store: withClosed(store, name),
        step,
        row: store.mark?.quarantine ? "GA-6 in quarantine a session is closed" : "SL-2 a silent session is closed",
      });
    }
    return moves;
  }

  /** GA-6, on the production `decideMark`. */
  #newMark({ store, newest }: StoreView): readonly StoreMove[] {
    const { mark, identity } = store;
    const decision = this.#rules.decideMark({
      stored: mark === undefined ? { kind: "none" } : { kind: "verified", mark },
      liveIdentity: identity,
      seen: [newest],
      founding: false,
      forgotUnder: undefined,
      newIncarnation: `i${newest.counter + 1n}`,
      nowSeconds: 0n,
    });
    if (decision.kind !== "replace") return [];
    const step = {
      who: "registry",
      event: `writes a new mark (${decision.because})`,
      fault: false,
      violation: undefined,
    };
    return [
      {
        ...still,
        store: { ...store, mark: decision.mark },
        mark: decision.mark,
        step,
        row: `GA-6 a new mark: ${decision.because}`,
      },
    ];
  }

  /** GA-6: a registry has watched this mark for the quarantine length, so every lease of an earlier incarnation is over. */
  #endOfQuarantine({ store, hosts }: StoreView): readonly StoreMove[] {
    const { mark } = store;
    if (mark === undefined || !mark.quarantine) return [];
    const live = hosts.some(
      ({ session, lapsed }) => session !== undefined && session.incarnation !== mark.incarnation && !lapsed,
    );
    if (live && !this.#timing.quarantineTooShort) return [];
    const step = { who: "registry", event: "ends the quarantine", fault: false, violation: undefined };
    return [
      { ...still, store: { ...store, mark: { ...mark, quarantine: false } }, step, row: "GA-6 a quarantine ends" },
    ];
  }

  #losses({ store, saved, isSaved, budget }: StoreView): readonly StoreMove[] {
    const moves: StoreMove[] = [];
    const wipe = costOf("wipes");
    if (canPay(budget, wipe)) {
      const empty: Store = { mark: undefined, identity: store.identity, record: undefined, sessions: {}, holders: {} };
      const step = { who: "store", event: "is wiped", fault: true, violation: undefined };
      moves.push({ ...still, store: empty, cost: wipe, step });
    }
    const rollback = costOf("rollbacks");
    if (!canPay(budget, rollback)) return moves;
    // Restored, it runs as another server: its identity is a new one.
    const back: Store = { ...saved, identity: `${store.identity}'` };
    const step = { who: "store", event: "is rolled back to what was saved", fault: true, violation: undefined };
    moves.push({ ...still, store: back, cost: rollback, step });
    if (!isSaved) {
      const save = { who: "store", event: "is saved", fault: true, violation: undefined };
      moves.push({ ...still, save: true, step: save });
    }
    return moves;
  }
}

const still = { store: undefined, save: false, cost: 0, row: undefined, mark: undefined } as const;
