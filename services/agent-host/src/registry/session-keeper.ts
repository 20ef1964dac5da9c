// The host's session with the registry: opened at the start, renewed in the background, opened anew under another boot id
// whenever it was lost. One renewal serves everything that the host runs.
//
// SL-3  Both clocks are read before a request is sent; its answer counts from there.
// SL-4  A void session is followed by a new one, under which agents are recovered; a late answer makes an open one live.
// SL-6  Once `close_session` was sent nothing ticks under that session, whatever the answer.
// GA-6  The newest mark that this host has seen is on its disk, and shown with every opening, renewal and reassert.
// GA-8  When the store forgot, the session is brought over, unless its deadline has passed at any moment since its last renewal
//       under the incarnation before: that is looked at before every answer is taken in, and before every reassert. Otherwise
//       a new one is opened at once, in quarantine too.
// GA-1  A lease that was brought over lends nothing to the grants of the incarnation before.
// GA-5  A boot id is in the data directory before the registry hears of it, so that a restarted host knows its own.

import { type Clock, type Entropy, type Random, withDeadline } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import {
  type ClockReading,
  type LeaseRules,
  needsRenewal,
  noticeLapse,
  openLease,
  reassertsFrom,
  remainingMs,
  type SessionLease,
  type SignedBytes,
  stepLease,
} from "@godwit/common/lease";
import type { Logger } from "pino";
import { Marks } from "./marks.ts";
import type {
  Answer,
  Carried,
  HeldSession,
  ReassertionClaim,
  Sessions,
  SessionView,
  ShownItem,
  VerifiedMark,
} from "./ports.ts";
import { encodeItems } from "./reassertion.ts";

export interface SessionKeeperParts {
  readonly sessions: Sessions;
  /** Signs the opening with the host's key. */
  readonly signOpening: (opening: {
    readonly hostId: string;
    readonly bootId: string;
    readonly incarnation: string;
    readonly markSeen: SignedBytes | undefined;
  }) => SignedBytes;
  readonly signReassertion: (claim: ReassertionClaim) => SignedBytes;
  /** What is brought back with a session, one call of the registry for each batch. */
  readonly carried: () => AsyncIterable<readonly Carried[]>;
  readonly memory: SessionMemory;
  readonly clock: Clock;
  readonly random: Random;
  readonly entropy: Entropy;
  readonly logger: Logger;
}

/** What a host remembers of its sessions on disk. */
export interface SessionMemory {
  recordSession(bootId: string): Promise<void>;
  newestMark(): SignedBytes | undefined;
  saveMark(mark: SignedBytes): Promise<void>;
  /** The key that the first session of this data directory met; another one is refused. */
  registryKey(): Uint8Array | undefined;
  pinRegistryKey(key: Uint8Array): Promise<void>;
}

export interface SessionKeeperRules {
  readonly hostId: string;
  /** Deadline of a registry call (protocol §11). */
  readonly callTimeoutMs: number;
  /** Longest pause between two tries to open a session. */
  readonly maxReopenDelayMs: number;
}

/**
 * `live`: a renewal was answered after the lease had lapsed. `brought-over`: the session is one of another incarnation now.
 * `settled`: the quarantine is over.
 */
export type SessionEvent = "opened" | "void" | "live" | "brought-over" | "settled";

/** Between two tries to bring the same batch back. */
const againMs = 100;

const voided: SessionLease = { kind: "void" };

export class SessionKeeper implements SessionView {
  readonly #parts: SessionKeeperParts;
  readonly #rules: SessionKeeperRules;
  readonly #listeners = new Map<SessionEvent, Set<() => void>>();
  #held: HeldSession | undefined;
  #lease: SessionLease = voided;
  #leaseRules: LeaseRules | undefined;
  #generation = 0n;
  #trouble: string | undefined = "no session was opened yet";
  #running = new AbortController();
  #soon = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #registryKey: Uint8Array | undefined;
  readonly #marks: Marks;
  /** When this host heard of the quarantine that is under way. */
  #quarantineSinceMs: number | undefined;

  constructor(parts: SessionKeeperParts, rules: SessionKeeperRules) {
    this.#parts = parts;
    this.#rules = rules;
    this.#marks = new Marks(parts.memory);
  }

  get current(): HeldSession | undefined {
    return this.#held;
  }

  get lease(): SessionLease {
    return this.#lease;
  }

  get generation(): bigint {
    return this.#generation;
  }

  get registryKey(): Uint8Array | undefined {
    return this.#registryKey;
  }

  get newestMark(): SignedBytes | undefined {
    return this.#marks.newest;
  }

  /** What the registry waits for, for people; `undefined` when it is in no quarantine that this host knows of. */
  get quarantine(): string | undefined {
    if (this.#quarantineSinceMs === undefined) return undefined;
    const seconds = Math.floor((this.#parts.clock.monotonicMs() - this.#quarantineSinceMs) / 1_000);
    return `the registry's store forgot: waiting for the end of its quarantine, ${seconds} s by now`;
  }

  /** Why there is no live lease, for /readyz and for people; `undefined` while there is one. */
  get trouble(): string | undefined {
    if (this.#held !== undefined && remainingMs(this.#lease, this.reading()) > 0) return this.quarantine;
    return this.#trouble ?? "the lease has passed its deadline and no renewal was answered since";
  }

  reading(): ClockReading {
    return { monotonicMs: this.#parts.clock.monotonicMs(), wallMs: this.#parts.clock.now().getTime() };
  }

  /** Listeners must not throw. */
  on(event: SessionEvent, listener: () => void): void {
    const listeners = this.#listeners.get(event) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(event, listeners);
  }

  async start(): Promise<void> {
    this.#running = new AbortController();
    this.#registryKey = this.#parts.memory.registryKey();
    this.#loop = this.#run(this.#running.signal);
  }

  /** Closes the session, so that others need not wait for its silence (SL-6). Bounded by one call's deadline. */
  async stop(): Promise<void> {
    this.#running.abort(new Fault({ code: "SHUTTING_DOWN" }));
    await this.#loop;
    const session = this.#held;
    this.#become(undefined, voided); // before it is sent: nothing ticks from here on
    if (session === undefined) return;
    try {
      await this.#call("close_session", new AbortController().signal, (signal) =>
        this.#parts.sessions.close(session, undefined, signal),
      );
    } catch (cause) {
      this.#parts.logger.warn({ err: cause }, "session not closed; the registry closes it by its silence");
    }
  }

  /** Something was refused because the store has another incarnation: the session asks at once instead of at its next renewal. */
  suspect(): void {
    this.#soon.abort();
  }

  /** GA-5, only with --trust-data-lock: ends an earlier session of this host at once. */
  async closeEarlier(bootId: string): Promise<void> {
    const session = this.#held;
    if (session === undefined) throw new Fault({ code: "SESSION_NOT_OPEN", reason: this.trouble ?? "none" });
    await this.#call("close_session", this.#running.signal, (signal) =>
      this.#parts.sessions.close(session, bootId, signal),
    );
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (this.#held === undefined) await this.#open(signal);
        else await this.#renew(this.#held, signal);
        failures = 0;
        this.#trouble = undefined;
        await this.#rest(signal);
      } catch (cause) {
        if (signal.aborted) return;
        this.#trouble = cause instanceof Error ? cause.message : String(cause);
        if (failures++ === 0) this.#parts.logger.warn({ err: cause }, "no answer of the registry");
        const capMs = Math.min(this.#rules.maxReopenDelayMs, 100 * 2 ** Math.min(failures, 10));
        await this.#parts.clock.sleep(capMs * (0.5 + this.#parts.random() / 2), signal).catch(() => {});
      }
    }
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { sessions, memory, signOpening, logger } = this.#parts;
    // Not the newest: the registry hears of the newest with the opening, and works under another one afterwards.
    const { mark } = await this.#describe(signal);
    const { incarnation, counter } = mark;

    // A boot id is never used twice: also a try whose answer was lost is followed by another one.
    const bootId = this.#parts.entropy.uuid();
    await memory.recordSession(bootId);
    const opening = signOpening({ hostId: this.#rules.hostId, bootId, incarnation, markSeen: this.#marks.newest });
    const sentAt = this.reading(); // SL-3
    const opened = await this.#call("open_session", signal, (limited) => sessions.open(opening, limited));
    const under = await this.#seeMark(opened.mark, incarnation);
    const session: HeldSession = {
      id: { hostId: this.#rules.hostId, bootId },
      secret: opened.secret,
      incarnation,
      counter,
    };
    this.#leaseRules = opened.rules;
    this.#generation = opened.generation;
    this.#become(session, openLease(incarnation, sentAt, opened.rules));
    this.#noteQuarantine(under);
    logger.info({ bootId, incarnation, quarantine: under.quarantine, ...opened.rules }, "session opened");
    this.#emit("opened");
  }

  async #renew(session: HeldSession, signal: AbortSignal): Promise<void> {
    const sentAt = this.reading(); // SL-3
    const lapsed = remainingMs(this.#lease, sentAt) === 0;
    try {
      const claim = { generation: this.#generation, markSeen: this.#marks.newest };
      const renewal = await this.#call("renew_session", signal, (limited) =>
        this.#parts.sessions.renew(session, claim, limited),
      );
      this.#noticeLapse();
      const { incarnation } = session;
      const mark = await this.#seeMark(renewal.mark, incarnation);
      this.#leaseRules = renewal.rules;
      this.#generation = renewal.generation;
      this.#lease = stepLease(this.#lease, { kind: "renewed", incarnation, sentAt, rules: renewal.rules });
      this.#noteQuarantine(mark);
      if (lapsed) this.#emit("live");
    } catch (cause) {
      this.#noticeLapse();
      if (isFault(cause, "STALE_INCARNATION")) await this.#bringOver(session, cause, signal);
      else if (isFault(cause, "SESSION_VOID", "SESSION_UNKNOWN", "BAD_SECRET")) this.#lose(session, cause);
      else throw cause;
    }
  }

  /** SL-4: this one is over. The loop opens the next at once. */
  #lose(session: HeldSession, cause: Fault): void {
    this.#parts.logger.warn({ bootId: session.id.bootId, code: cause.code }, "session lost");
    this.#become(undefined, stepLease(this.#lease, { kind: "refused" }));
    this.#trouble = cause.message;
    this.#emit("void");
  }

  /** The store has another incarnation than the session (§9). */
  async #bringOver(session: HeldSession, because: Fault, signal: AbortSignal): Promise<void> {
    const { mark, newest } = await this.#describe(signal);
    if (mark.incarnation === session.incarnation || !newest) throw disagreement();
    const { incarnation, quarantine } = mark;
    if (!quarantine) return this.#lose(session, because);
    try {
      // Alone, since it is what counts as a renewal; what it carries follows.
      if ((await this.#reassert(mark, [], signal)) === undefined) return this.#lose(session, because);
    } catch (cause) {
      if (isRefusal(cause)) return this.#lose(session, cause);
      throw cause;
    }
    this.#parts.logger.warn(
      { bootId: session.id.bootId, incarnation },
      "session brought over: the store had forgotten",
    );
    this.#noteQuarantine(mark);
    this.#emit("brought-over");
    for await (const batch of this.#parts.carried()) await this.#bringBack(mark, batch, signal);
  }

  /** GA-7: one batch, again until it is answered or may not be sent any more. */
  async #bringBack(to: VerifiedMark, batch: readonly Carried[], signal: AbortSignal): Promise<void> {
    const { incarnation } = to;
    let open = batch;
    const answer = (carried: Carried, answered: Answer | undefined): void => {
      if (this.#held !== undefined) carried.answered(this.#held, answered);
    };
    while (open.length > 0) {
      const shown = open.map((carried) => ({ carried, item: carried.item(incarnation) }));
      for (const { carried, item } of shown) if (item === undefined) answer(carried, undefined);
      open = shown.flatMap(({ carried, item }) => (item === undefined ? [] : [carried]));
      if (open.length === 0) return;
      try {
        const items = shown.flatMap(({ item }) => item ?? []);
        const answers = await this.#reassert(to, items, signal);
        for (const [at, carried] of open.entries()) answer(carried, answers?.[at]);
        return;
      } catch (cause) {
        signal.throwIfAborted();
        this.#noticeLapse();
        this.#parts.logger.warn({ err: cause, agents: open.length }, "not brought back yet");
        if (isRefusal(cause) || isFault(cause, "STALE_INCARNATION")) {
          for (const carried of open) answer(carried, undefined);
          return;
        }
        await this.#parts.clock.sleep(againMs, signal);
      }
    }
  }

  /** One call, which counts as a renewal under the new incarnation. `undefined`: GA-8 forbids it. */
  async #reassert(
    to: VerifiedMark,
    items: readonly ShownItem[],
    signal: AbortSignal,
  ): Promise<readonly Answer[] | undefined> {
    const { incarnation, counter } = to;
    const bytes = encodeItems(items);
    const sentAt = this.reading(); // SL-3
    this.#lease = noticeLapse(this.#lease, sentAt);
    const session = this.#held;
    const from = reassertsFrom(this.#lease, incarnation, sentAt);
    if (session === undefined || from === undefined) return undefined;
    const reassertion = this.#parts.signReassertion({
      session: session.id,
      incarnation,
      from,
      generation: this.#generation,
      markSeen: this.#marks.newest,
      items: bytes,
    });
    const answer = await this.#call("reassert", signal, (limited) =>
      this.#parts.sessions.reassert(reassertion, bytes, limited),
    );
    this.#noticeLapse();
    await this.#seeMark(answer.mark, incarnation);
    const { rules, generation, secret } = answer;
    this.#leaseRules = rules;
    this.#generation = generation;
    // The same session stays the same object: who has sent something under it is still heard.
    const isSame = session.incarnation === incarnation && Buffer.from(session.secret).equals(secret);
    const lease = stepLease(this.#lease, { kind: "reasserted", incarnation, sentAt, rules });
    this.#become(isSame ? session : { id: session.id, secret, incarnation, counter }, lease);
    return answer.results;
  }

  async #describe(signal: AbortSignal): Promise<{ readonly mark: VerifiedMark; readonly newest: boolean }> {
    const { sessions } = this.#parts;
    const registry = await this.#call("describe_registry", signal, (limited) => sessions.describe(limited));
    await this.#checkKey(registry.publicKey);
    return await this.#marks.see(registry.mark, registry.publicKey);
  }

  /** The mark of an answer. Throws Fault when it is not the one that was named, or not the newest: that answer counts for nothing. */
  async #seeMark(signed: SignedBytes, incarnation: string): Promise<VerifiedMark> {
    if (this.#registryKey === undefined) throw new TypeError("an answer of a registry whose key is not known");
    const { mark, newest } = await this.#marks.see(signed, this.#registryKey);
    if (mark.incarnation !== incarnation || !newest) throw disagreement();
    return mark;
  }

  #noticeLapse(): void {
    this.#lease = noticeLapse(this.#lease, this.reading());
  }

  #noteQuarantine({ quarantine }: VerifiedMark): void {
    if (quarantine) {
      this.#quarantineSinceMs ??= this.#parts.clock.monotonicMs();
    } else if (this.#quarantineSinceMs !== undefined) {
      this.#quarantineSinceMs = undefined;
      this.#emit("settled");
    }
  }

  /** The first key met is kept; another one is another cluster's registry, or somebody in between. */
  async #checkKey(key: Uint8Array): Promise<void> {
    const { memory } = this.#parts;
    const pinned = memory.registryKey();
    if (pinned === undefined) {
      await memory.pinRegistryKey(key);
    } else if (!Buffer.from(pinned).equals(key)) {
      throw new Fault({
        code: "SIGNATURE_INVALID",
        what: "the registry: its key is not the one that this data directory first met; give the right --registry, or an empty --data",
      });
    }
    this.#registryKey = key;
  }

  async #rest(signal: AbortSignal): Promise<void> {
    this.#soon = new AbortController();
    const either = AbortSignal.any([signal, this.#soon.signal]);
    await this.#parts.clock.sleep(this.#untilRenewalMs(), either).catch(() => {});
  }

  #untilRenewalMs(): number {
    if (this.#held === undefined || this.#leaseRules === undefined || this.#lease.kind === "void") return 0;
    const now = this.reading();
    if (needsRenewal(this.#lease, this.#leaseRules, now)) return 0;
    return this.#lease.since.monotonicMs + this.#leaseRules.renewEveryMs - now.monotonicMs;
  }

  #call<T>(what: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    // A hung renewal must leave room for another one within the duration (SL-5).
    const ms = Math.min(this.#rules.callTimeoutMs, this.#leaseRules?.renewEveryMs ?? this.#rules.callTimeoutMs);
    return withDeadline(this.#parts.clock, { what: `the registry's answer to ${what}`, ms, signal }, work);
  }

  #become(session: HeldSession | undefined, lease: SessionLease): void {
    this.#held = session;
    this.#lease = lease;
  }

  #emit(event: SessionEvent): void {
    for (const listener of this.#listeners.get(event) ?? []) listener();
  }
}

/** Nothing of it was done, and the same would be refused again. */
function isRefusal(cause: unknown): cause is Fault {
  return isFault(cause, "QUARANTINE_OVER", "SESSION_VOID", "INVALID_ARGUMENT", "SIGNATURE_INVALID");
}

function disagreement(): Fault {
  const reason =
    "it works under another mark of its store than the newest one that this host has seen: it is told of that";
  return new Fault({ code: "REGISTRY_UNAVAILABLE", reason });
}
