// Which mark this registry works under, and whether it may work at all.
//
// §2    A missing mark means "new" only where the signing key is being made. Anywhere else the store forgot.
// GA-6  Everything runs under one adopted mark, which the store compares in every step. Mark gone, of another incarnation,
//       or of another key: nothing is served (QUARANTINE) until the adopted mark is back. (What ends a quarantine
//       otherwise, identity checks and reassertion, comes with §9.)

import type { Clock } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import type { Signer } from "@godwit/lineage";
import type { Logger } from "pino";
import { sameBytes } from "../store/bytes.ts";
import { MarkMismatch, type MarkStore } from "../store/registry-store.ts";
import { findKey, foundKey, settleKey } from "./key-file.ts";
import { type Mark, newMark, readMark } from "./mark.ts";

/** A mark under which commands are served, and the key that signed it. */
export interface Standing {
  readonly mark: Mark;
  readonly signer: Signer;
}

type State =
  /** Not known yet: the store or the key could not be read. */
  | { readonly kind: "waiting"; readonly reason: string }
  | { readonly kind: "adopted"; readonly standing: Standing }
  | { readonly kind: "quarantined"; readonly reason: string };

const CHECK_EVERY_MS = 500;

export interface MarkKeeperParts {
  readonly store: MarkStore & { readonly where: string };
  readonly clock: Clock;
  readonly logger: Logger;
}

export class MarkKeeper {
  readonly #parts: MarkKeeperParts;
  readonly #keyFile: string;
  #state: State = { kind: "waiting", reason: "the store was not asked yet" };
  /** Once adopted, no other mark will do for this process. */
  #adopted: Standing | undefined;

  constructor(parts: MarkKeeperParts, { keyFile }: { readonly keyFile: string }) {
    this.#parts = parts;
    this.#keyFile = keyFile;
  }

  /** Why nothing is served; undefined when it is. */
  trouble(): string | undefined {
    return this.#state.kind === "adopted" ? undefined : this.#state.reason;
  }

  /**
   * Runs `work` under the adopted mark. Throws Fault QUARANTINE when there is none or the store has another one, NOT_READY
   * before the first answer of the store.
   */
  async under<T>(work: (standing: Standing) => Promise<T>): Promise<T> {
    const state = this.#state;
    if (state.kind === "waiting") throw new Fault({ code: "NOT_READY", reason: state.reason });
    if (state.kind === "quarantined") throw new Fault({ code: "QUARANTINE", reason: state.reason });
    try {
      return await work(state.standing);
    } catch (error) {
      if (!(error instanceof MarkMismatch)) throw error;
      await this.check();
      const after: State = this.#state;
      const reason = after.kind === "adopted" ? "the store's mark was another one for a moment" : after.reason;
      throw new Fault({ code: "QUARANTINE", reason }, { cause: error });
    }
  }

  /** Looks at the key and the store until it may serve, and again after that was lost. Ends when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#state.kind !== "adopted") await this.check();
      await this.#parts.clock.sleep(CHECK_EVERY_MS, signal).catch(() => {});
    }
  }

  /** One look at key and store. Never throws: what goes wrong is the trouble. */
  async check(): Promise<void> {
    let next: State;
    try {
      next = await this.#look();
    } catch (error) {
      // An adopted mark is still the right one when the store does not answer: every step compares it.
      if (isFault(error, "STORE_UNAVAILABLE") && this.#state.kind === "adopted") return;
      if (!isFault(error)) this.#parts.logger.error({ err: error }, "the mark could not be checked");
      next = { kind: "waiting", reason: isFault(error) ? error.message : "an internal error: see the log" };
    }
    this.#enter(next);
  }

  async #look(): Promise<State> {
    const { store } = this.#parts;
    const key = await findKey(this.#keyFile);
    const stored = await store.readMark();
    if (key === undefined) {
      return stored === undefined ? await this.#found() : quarantined(this.#withoutKey());
    }
    if (stored === undefined) return key.founding ? await this.#found() : quarantined(this.#forgot());

    const mark = readMark(stored, key.signer.publicKey);
    if (mark === undefined) return quarantined(this.#ofAnotherKey());
    if (mark.quarantine) return quarantined(`the mark of ${store.where} says that it is in quarantine`);
    const adopted = this.#adopted;
    if (adopted !== undefined && !sameBytes(adopted.mark.bytes, mark.bytes)) {
      return quarantined(
        `the mark of ${store.where} changed under the running registry, to incarnation ${mark.incarnation}: ` +
          "bring the former store back, or stop all registries and hosts and start them again",
      );
    }
    if (key.founding) await settleKey(this.#keyFile);
    return { kind: "adopted", standing: adopted ?? { mark, signer: key.signer } };
  }

  /** The first start: key and mark are made together, by whoever of several replicas comes first. */
  async #found(): Promise<State> {
    const { store } = this.#parts;
    // A process that served under a mark never takes a missing one for new, whatever happened to its key file.
    if (this.#adopted !== undefined) return quarantined(this.#forgot());
    const { signer, founding } = await foundKey(this.#keyFile);
    if (founding) await store.createMark(newMark(store.where, signer).bytes);
    return await this.#look();
  }

  #enter(next: State): void {
    const before = this.#state;
    this.#state = next;
    if (next.kind === "adopted") this.#adopted = next.standing;
    if (next.kind === before.kind && (next.kind === "adopted" || next.reason === this.#reasonOf(before))) return;
    const { logger } = this.#parts;
    if (next.kind === "adopted") logger.info({ incarnation: next.standing.mark.incarnation }, "mark adopted");
    else if (next.kind === "quarantined") logger.error({ reason: next.reason }, "quarantine: nothing is served");
    else logger.warn({ reason: next.reason }, "waiting for the store");
  }

  #reasonOf(state: State): string | undefined {
    return state.kind === "adopted" ? undefined : state.reason;
  }

  #forgot(): string {
    return (
      `${this.#parts.store.where} has no mark, but there is a key in ${this.#keyFile}: the store lost its data, or it is ` +
      "another store. Bring the former store back; or, to begin anew with all agents lost, move the key away and start again"
    );
  }

  #withoutKey(): string {
    return (
      `${this.#parts.store.where} has a mark, but there is no key in ${this.#keyFile}: give the registry the key that ` +
      "signed the mark (--key)"
    );
  }

  #ofAnotherKey(): string {
    return (
      `the mark of ${this.#parts.store.where} is not signed by the key in ${this.#keyFile}: give the registry the right ` +
      "key (--key) or the right store"
    );
  }
}

function quarantined(reason: string): State {
  return { kind: "quarantined", reason };
}
