// Which mark this registry works under, and what it does when the store may have forgotten.
//
// §2    A missing mark means "new" only where the signing key is being made. Anywhere else the store forgot.
// GA-6  What is to be done with the mark that is found is decided by `decideMark` (common/lease); it is written by
//       compare-and-set, so of several registries one writes it and the others adopt it. What hosts show counts like what this
//       process has seen itself. A quarantine is ended by compare-and-set, after this process has watched it for its length.
// 1. What was seen is taken down before the store is asked: it was written before, so a store that has less forgot it.
//    The same goes for the end of a quarantine: a store that is in it again, under the same mark, forgot that end.
// 2. Work that meets another mark is begun again under the one that is there: then it names a stale incarnation, or is
//    repeated under the same one. Its step has done nothing.
// 3. A quarantine that is too short for a lease that was given would let an agent run twice. So it never ends before the
//    longest lease that this process has seen, and while there are such leases nothing is served here (SL-5).

import type { Clock, Entropy } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import {
  decideMark,
  isNewest,
  type QuarantineWatch,
  rememberMark,
  type SeenMark,
  type SessionSighting,
  type SignedBytes,
  type StoredMark,
  type StoreLoss,
  type StoreMark,
  watchQuarantine,
  withoutQuarantine,
} from "@godwit/common/lease";
import type { Signer } from "@godwit/lineage";
import type { Logger } from "pino";
import type { RegistryMetrics } from "../metrics.ts";
import { sameBytes } from "../store/bytes.ts";
import { MarkMismatch, type MarkStore, type SessionStore, StepRefused } from "../store/registry-store.ts";
import { type FoundKey, fileKeys, type KeyStore } from "./key-file.ts";
import { type Mark, readMark, readShownMark, signMark } from "./mark.ts";
import { longLeaseText, lossText, ofAnotherKey, quarantineText, remainingText, withoutKey } from "./reasons.ts";

/** A mark under which commands are served, and the key that signed it. */
export interface Standing {
  readonly mark: Mark;
  readonly signer: Signer;
}

type State =
  /** Not known yet: the store or the key could not be read. */
  | { readonly kind: "waiting"; readonly reason: string }
  /** Not our store, or not our key: an operator has to act. */
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "adopted"; readonly standing: Standing };

/** From one look to the next. */
const CHECK_EVERY_MS = 500;
/** Looks that come further apart than this start a watch of a quarantine anew. */
const MAX_GAP_MS = 4 * CHECK_EVERY_MS;
/** Of one look, when others write marks at the same time. */
const MAX_TRIES = 16;
/** Of work that meets another mark each time. */
const MAX_BEGINNINGS = 4;

export interface MarkKeeperParts {
  readonly store: MarkStore & Pick<SessionStore, "readOpenSessions"> & { readonly where: string };
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** Where the signing key is; by default in its file. */
  readonly keys?: KeyStore | undefined;
  readonly logger: Logger;
  readonly metrics: Pick<RegistryMetrics, "storeLosses" | "quarantine" | "quarantineRemaining" | "markCounter">;
}

export interface MarkKeeperRules {
  readonly keyFile: string;
  /** At least duration + grace of every session of whatever registry on this store (GA-6). */
  readonly quarantineMs: number;
}

export class MarkKeeper {
  readonly #parts: MarkKeeperParts;
  readonly #rules: MarkKeeperRules;
  readonly #keys: KeyStore;
  #state: State = { kind: "waiting", reason: "the store was not asked yet" };
  /** Once a mark was adopted under it, no other will do for this process. */
  #key: FoundKey | undefined;
  #seen: readonly SeenMark[] = [];
  #forgotUnder: string | undefined;
  /** The newest that was seen out of quarantine. */
  #ended: SeenMark | undefined;
  #watch: QuarantineWatch | undefined;
  /** Why this process took the store for one that forgot, and in which incarnation that ended. */
  #loss: { readonly incarnation: string; readonly text: string } | undefined;
  /** Of open sessions, duration + grace: at the last look, and ever. */
  #leasesMs = { open: 0, ever: 0 };
  #checking: Promise<void> | undefined;
  #nextCheck: Promise<void> | undefined;

  constructor(parts: MarkKeeperParts, rules: MarkKeeperRules) {
    this.#parts = parts;
    this.#rules = rules;
    this.#keys = parts.keys ?? fileKeys(rules.keyFile);
  }

  /** Why not everything is served; undefined when it is. The same text until something changes. */
  trouble(): string | undefined {
    const state = this.#state;
    if (state.kind !== "adopted") return state.reason;
    return (
      this.#longLeases() ?? (state.standing.mark.quarantine ? this.#quarantineText(state.standing.mark) : undefined)
    );
  }

  /**
   * Runs `work` under the adopted mark. Throws Fault QUARANTINE in quarantine and on a store that is not ours, NOT_READY before
   * the first answer of the store and where registries are set up against each other.
   */
  async under<T>(work: (standing: Standing) => Promise<T>): Promise<T> {
    return await this.#serve(work, { inQuarantine: false });
  }

  /** The same for session commands, which are served in quarantine as well (GA-6): `standing.mark` tells. */
  async underAny<T>(work: (standing: Standing) => Promise<T>): Promise<T> {
    return await this.#serve(work, { inQuarantine: true });
  }

  /** The same for the registry's own look at all sessions, from which it learns whether it may serve. */
  async watching(work: (standing: Standing) => Promise<readonly SessionSighting[]>): Promise<void> {
    this.#noteLeases(await this.#serve(work, { inQuarantine: true, longLeases: true }));
  }

  /**
   * A mark that a host shows as the newest that it has seen; unset: it has seen none. When that says that the store forgot, or
   * that there is a newer one, everything is settled before this returns. Throws Fault SIGNATURE_INVALID for a mark of another key.
   */
  async show(signed: SignedBytes | undefined): Promise<void> {
    if (signed === undefined) return;
    const state = this.#state;
    const adopted = state.kind === "adopted" ? state.standing : undefined;
    if (adopted !== undefined && sameBytes(signed.payload, adopted.mark.signed.payload)) {
      if (sameBytes(signed.signature, adopted.mark.signed.signature)) return;
    }
    const key = this.#key;
    if (key === undefined) throw this.#notServed(false);
    const shown = readShownMark(signed, key.signer.publicKey);
    this.#remember(shown);
    if (adopted === undefined || !isNewest(adopted.mark, this.#seen)) await this.check();
  }

  /**
   * A caller was answered, under this mark, what the store does not know: it forgot. Afterwards another mark is there; throws
   * MarkMismatch, so that the work in which this was noticed is begun again under that.
   */
  async forgot({ incarnation }: Mark, evidence: Readonly<Record<string, unknown>>): Promise<never> {
    this.#parts.logger.error({ incarnation, ...evidence }, "the store does not know what a host was answered");
    this.#forgotUnder = incarnation;
    await this.check();
    throw new MarkMismatch();
  }

  /** Looks at the mark until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.check();
      await this.#parts.clock.sleep(CHECK_EVERY_MS, signal).catch(() => {});
    }
  }

  /** A look at key and store that begins after this was called. Never throws: what goes wrong is the trouble. */
  check(): Promise<void> {
    if (this.#checking === undefined) return this.#beginCheck();
    this.#nextCheck ??= this.#checking.then(() => {
      this.#nextCheck = undefined;
      return this.#beginCheck();
    });
    return this.#nextCheck;
  }

  #beginCheck(): Promise<void> {
    const checking = this.#check().finally(() => {
      if (this.#checking === checking) this.#checking = undefined;
    });
    this.#checking = checking;
    return checking;
  }

  async #check(): Promise<void> {
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
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const state = await this.#lookOnce();
      if (state !== undefined) return state;
    }
    return { kind: "waiting", reason: `the mark of ${this.#parts.store.where} changes all the time` };
  }

  /** Undefined when something was written, by whomever, and has to be looked at. */
  async #lookOnce(): Promise<State | undefined> {
    const { store, clock, entropy } = this.#parts;
    const seen = this.#seen; // before the store is asked
    const [forgotUnder, ended] = [this.#forgotUnder, this.#ended];
    const askedAtMs = clock.monotonicMs();
    const { identity, mark: bytes } = await store.readMark();
    const answeredAtMs = clock.monotonicMs();
    // After the store was asked: a key that is still being made now has served nobody when the mark was missing.
    const key = this.#key ?? (await this.#keys.find());
    if (key === undefined) {
      if (bytes !== undefined) return { kind: "refused", reason: withoutKey(this.#place()) };
      await this.#keys.found();
      return undefined;
    }

    const mark = bytes && this.#read(bytes, key.signer);
    const decision = decideMark({
      stored: storedMark(bytes, mark),
      liveIdentity: identity,
      seen,
      founding: key.founding,
      forgotUnder:
        mark?.quarantine === true && mark.incarnation === ended?.incarnation ? mark.incarnation : forgotUnder,
      newIncarnation: entropy.uuid(),
      nowSeconds: BigInt(Math.floor(clock.now().getTime() / 1_000)),
    });
    switch (decision.kind) {
      case "refuse":
        return { kind: "refused", reason: ofAnotherKey(this.#place()) };
      case "create":
        await store.replaceMark(undefined, signMark(decision.mark, key.signer).bytes);
        return undefined;
      case "replace":
        await this.#replace(bytes, signMark(decision.mark, key.signer), { because: decision.because, found: mark });
        return undefined;
      case "adopt":
        if (mark === undefined) throw new Error("a mark was adopted that is not there");
        return await this.#adopt({ mark, signer: key.signer }, { key, askedAtMs, answeredAtMs });
    }
  }

  #remember(mark: StoreMark): void {
    this.#seen = rememberMark(this.#seen, mark);
    if (!mark.quarantine && mark.counter >= (this.#ended?.counter ?? 0n)) this.#ended = mark;
  }

  /** The same object for the same bytes. */
  #read(bytes: Uint8Array, { publicKey }: Signer): Mark | undefined {
    const state = this.#state;
    if (state.kind === "adopted" && sameBytes(state.standing.mark.bytes, bytes)) return state.standing.mark;
    return readMark(bytes, publicKey);
  }

  async #replace(
    before: Uint8Array | undefined,
    mark: Mark,
    { because, found }: { readonly because: StoreLoss; readonly found: StoreMark | undefined },
  ): Promise<void> {
    const { store, logger, metrics } = this.#parts;
    if (!(await store.replaceMark(before, mark.bytes))) return; // somebody was quicker
    const text = lossText(because);
    this.#loss = { incarnation: mark.incarnation, text };
    metrics.storeLosses.inc({ because });
    logger.error(
      {
        where: store.where,
        because,
        foundIdentity: found?.storeIdentity,
        storeIdentity: mark.storeIdentity,
        counter: String(mark.counter),
        incarnation: mark.incarnation,
        quarantineMs: this.#quarantineMs(),
      },
      `the store may have forgotten writes: ${text}. A new mark was written, in quarantine, which ends by itself`,
    );
  }

  async #adopt(
    standing: Standing,
    {
      key,
      askedAtMs,
      answeredAtMs,
    }: { readonly key: FoundKey; readonly askedAtMs: number; readonly answeredAtMs: number },
  ): Promise<State | undefined> {
    const { store, logger } = this.#parts;
    const { mark, signer } = standing;
    if (key.founding) await this.#keys.settle();
    this.#key = { signer, founding: false };
    this.#remember(mark);
    if (this.#adoptedMark()?.incarnation !== mark.incarnation) {
      try {
        this.#noteLeases(await store.readOpenSessions(mark.bytes)); // before anything is served under it
      } catch (error) {
        if (error instanceof MarkMismatch) return undefined;
        throw error;
      }
    }
    const rules = { quarantineMs: this.#quarantineMs(), maxGapMs: MAX_GAP_MS };
    const { watch, over } = watchQuarantine(this.#watch, { mark, askedAtMs, answeredAtMs }, rules);
    this.#watch = watch;
    if (!over) return { kind: "adopted", standing };
    if (await store.replaceMark(mark.bytes, signMark(withoutQuarantine(mark), signer).bytes)) {
      logger.info({ incarnation: mark.incarnation, ...rules }, "this registry has ended the quarantine");
    }
    return undefined;
  }

  #enter(next: State): void {
    const before = this.#state;
    this.#state = next;
    const { logger, metrics } = this.#parts;
    metrics.quarantine.set(next.kind === "adopted" && !next.standing.mark.quarantine ? 0 : 1);
    metrics.quarantineRemaining.set(this.#remainingMs() / 1_000);
    if (next.kind !== "adopted") {
      if (before.kind === next.kind && before.reason === next.reason) return;
      if (next.kind === "refused") logger.error({ reason: next.reason }, "nothing is served");
      else logger.warn({ reason: next.reason }, "waiting for the store");
      return;
    }
    const { mark } = next.standing;
    metrics.markCounter.set(Number(mark.counter));
    if (before.kind === "adopted" && sameBytes(before.standing.mark.bytes, mark.bytes)) return;
    const about = { incarnation: mark.incarnation, counter: String(mark.counter) };
    if (mark.quarantine) {
      logger.warn({ ...about, reason: this.#quarantineText(mark) }, "quarantine: only session commands are served");
    } else logger.info(about, "mark adopted: everything is served");
  }

  async #serve<T>(
    work: (standing: Standing) => Promise<T>,
    { inQuarantine, longLeases = false }: { readonly inQuarantine: boolean; readonly longLeases?: boolean },
  ): Promise<T> {
    for (let beginnings = 0; beginnings < MAX_BEGINNINGS; beginnings++) {
      const state = this.#state;
      if (state.kind !== "adopted") throw this.#notServed(inQuarantine);
      const { standing } = state;
      if (!longLeases && this.#longLeases() !== undefined) throw this.#notServed(inQuarantine);
      if (standing.mark.quarantine && !inQuarantine) throw this.#notServed(inQuarantine);
      try {
        return await work(standing);
      } catch (error) {
        if (error instanceof StepRefused && error.inQuarantine) throw this.#notServed(false, error);
        if (!(error instanceof MarkMismatch)) throw error;
        await this.check();
      }
    }
    throw new Fault({ code: "STORE_UNAVAILABLE", reason: "the mark of the store changes all the time" });
  }

  #notServed(inQuarantine: boolean, cause?: unknown): Fault {
    const state = this.#state;
    const options = cause === undefined ? undefined : { cause };
    if (state.kind === "waiting") return new Fault({ code: "NOT_READY", reason: state.reason }, options);
    if (state.kind === "refused") return new Fault({ code: "QUARANTINE", reason: state.reason }, options);
    const longLeases = this.#longLeases();
    if (longLeases !== undefined) return new Fault({ code: "NOT_READY", reason: longLeases }, options);
    const { mark } = state.standing;
    if (inQuarantine || !mark.quarantine) {
      return new Fault({ code: "NOT_READY", reason: "the mark of the store was another one for a moment" }, options);
    }
    const reason = this.#quarantineText(mark) + remainingText(this.#remainingMs());
    return new Fault({ code: "QUARANTINE", reason }, options);
  }

  #noteLeases(sessions: readonly SessionSighting[]): void {
    const open = sessions.reduce((longest, { durationMs, graceMs }) => Math.max(longest, durationMs + graceMs), 0);
    const before = this.#longLeases();
    this.#leasesMs = { open, ever: Math.max(open, this.#leasesMs.ever) };
    const now = this.#longLeases();
    if (now !== undefined && now !== before) this.#parts.logger.error({ reason: now }, "nothing is served");
  }

  #longLeases(): string | undefined {
    const { quarantineMs } = this.#rules;
    const leaseMs = this.#leasesMs.open;
    return leaseMs > quarantineMs
      ? longLeaseText({ where: this.#parts.store.where, leaseMs, quarantineMs })
      : undefined;
  }

  #quarantineMs(): number {
    return Math.max(this.#rules.quarantineMs, this.#leasesMs.ever);
  }

  #remainingMs(): number {
    if (this.#watch === undefined) return 0;
    return Math.max(0, this.#watch.sinceMs + this.#quarantineMs() - this.#parts.clock.monotonicMs());
  }

  #quarantineText({ incarnation }: StoreMark): string {
    const { where } = this.#parts.store;
    const loss = this.#loss?.incarnation === incarnation ? this.#loss.text : undefined;
    return quarantineText({ where, loss, quarantineMs: this.#quarantineMs() });
  }

  #adoptedMark(): Mark | undefined {
    return this.#state.kind === "adopted" ? this.#state.standing.mark : undefined;
  }

  #place() {
    return { where: this.#parts.store.where, keyFile: this.#rules.keyFile };
  }
}

function storedMark(bytes: Uint8Array | undefined, mark: Mark | undefined): StoredMark {
  if (bytes === undefined) return { kind: "none" };
  return mark === undefined ? { kind: "foreign" } : { kind: "verified", mark };
}
