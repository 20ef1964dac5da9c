// What the registry does of itself, and what happens to its store.
//
// SL-2, SL-3  A session is closed once its host's deadline has passed, or its host is gone.
// GA-6        A store that forgot, or is another one, is served again only under a new mark, in quarantine; that ends when every
//             lease of an earlier incarnation has passed its deadline.

import type { Command } from "@godwit/common/lease";
import type { Step } from "../engine/search.ts";
import { canPay, costOf } from "./budgets.ts";
import { isServing, withClosed } from "./registry.ts";
import { type Host, type Store, sessionName } from "./world.ts";

export interface StoreMove {
  /** `undefined`: as it is. */
  readonly store: Store | undefined;
  /** What there is now is what a rollback goes back to. */
  readonly save: boolean;
  readonly cost: number;
  readonly step: Step;
  readonly row: string | undefined;
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

  constructor({ timing = {} }: StoreTiming) {
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
  isPast({ mark, intact, record, sessions }: Store, command: Command): boolean {
    if (!intact || mark === undefined) return false;
    if (command.incarnation !== mark.incarnation) return true;
    const session = sessions[sessionName(command.caller)];
    if (session === undefined || session.closed) return true;
    if (record === undefined || record.incarnation !== mark.incarnation) return false;
    if (record.lastCommand === command.id) return true;
    if ("revision" in command) return command.revision < record.revision;
    return command.kind === "acquire";
  }

  alone(store: Store, hosts: readonly Host[], saved: Store, budget: number): readonly StoreMove[] {
    const moves: StoreMove[] = [];
    const add = (
      who: string,
      event: string,
      next: Store,
      more: Partial<StoreMove> & { fault?: boolean } = {},
    ): void => {
      const { cost = 0, save = false, row, fault = cost > 0 } = more;
      moves.push({ store: next, save, cost, row, step: { who, event, fault, violation: undefined } });
    };
    if (isServing(store)) {
      for (const [name, { closed, incarnation }] of Object.entries(store.sessions)) {
        if (closed || incarnation !== store.mark?.incarnation) continue;
        const host = hosts.find(
          ({ session, name: hostId }) =>
            session !== undefined && name === sessionName({ hostId, bootId: session.bootId }),
        );
        if (host !== undefined && !host.lapsed && !this.#timing.closesEarly) continue;
        add("registry", `closes session ${name}`, withClosed(store, name), {
          fault: host !== undefined,
          row: "SL-2 a session is closed",
        });
      }
    }
    void saved;
    void budget;
    void canPay;
    void costOf;
    return moves;
  }
}
