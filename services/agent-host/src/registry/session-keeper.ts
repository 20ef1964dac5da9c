// The host's session with the registry: opened at the start, renewed in the background, opened anew under another boot id
// whenever it was lost. One renewal serves everything that the host runs.
//
// SL-3  Both clocks are read before a request is sent; its answer counts from there.
// SL-4  A void session is followed by a new one, under which agents are recovered; a late answer makes an open one live.
// SL-6  Once `close_session` was sent nothing ticks under that session, whatever the answer.
// GA-5  A boot id is in the data directory before the registry hears of it, so that a restarted host knows its own.

import { type Clock, type Entropy, type Random, withDeadline } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import {
  type ClockReading,
  type LeaseRules,
  needsRenewal,
  openLease,
  remainingMs,
  type SessionLease,
  stepLease,
} from "@godwit/common/lease";
import type { Logger } from "pino";
import type { HeldSession, Sessions, SessionView } from "./ports.ts";

export interface SessionKeeperParts {
  readonly sessions: Sessions;
  /** Signs the opening with the host's key. */
  readonly signOpening: (opening: {
    readonly hostId: string;
    readonly bootId: string;
    readonly incarnation: string;
    readonly markSeen: SignedBytes | undefined;
  }) => SignedBytes;
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

type SessionEvent = "opened" | "void" | "live";

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
  #loop: Promise<void> = Promise.resolve();
  #registryKey: Uint8Array | undefined;

  constructor(parts: SessionKeeperParts, rules: SessionKeeperRules) {
    this.#parts = parts;
    this.#rules = rules;
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

  /** Why there is no live lease, for /readyz and for people; `undefined` while there is one. */
  get trouble(): string | undefined {
    if (this.#held !== undefined && remainingMs(this.#lease, this.reading()) > 0) return undefined;
    return this.#trouble ?? "the lease has passed its deadline and no renewal was answered since";
  }

  reading(): ClockReading {
    return { monotonicMs: this.#parts.clock.monotonicMs(), wallMs: this.#parts.clock.now().getTime() };
  }

  /** `live`: a renewal was answered after the lease had lapsed. Listeners must not throw. */
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
        await this.#parts.clock.sleep(this.#untilRenewalMs(), signal);
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
    const registry = await this.#call("describe_registry", signal, (limited) => sessions.describe(limited));
    await this.#checkKey(registry.publicKey);
    if (!sameSigned(memory.newestMark(), registry.mark)) await memory.saveMark(registry.mark);

    // A boot id is never used twice: also a try whose answer was lost is followed by another one.
    const bootId = this.#parts.entropy.uuid();
    await memory.recordSession(bootId);
    const opening = signOpening({
      hostId: this.#rules.hostId,
      bootId,
      incarnation: registry.incarnation,
      markSeen: memory.newestMark(),
    });
    const sentAt = this.reading(); // SL-3
    const opened = await this.#call("open_session", signal, (limited) => sessions.open(opening, limited));
    const session: HeldSession = {
      id: { hostId: this.#rules.hostId, bootId },
      secret: opened.secret,
      incarnation: registry.incarnation,
      counter: registry.counter,
    };
    this.#leaseRules = opened.rules;
    this.#generation = opened.generation;
    this.#become(session, openLease(registry.incarnation, sentAt, opened.rules));
    logger.info({ bootId, incarnation: registry.incarnation, ...opened.rules }, "session opened");
    this.#emit("opened");
  }

  async #renew(session: HeldSession, signal: AbortSignal): Promise<void> {
    const sentAt = this.reading(); // SL-3
    const lapsed = remainingMs(this.#lease, sentAt) === 0;
    try {
      const renewal = await this.#call("renew_session", signal, (limited) =>
        this.#parts.sessions.renew(session, this.#generation, limited),
      );
      this.#leaseRules = renewal.rules;
      this.#generation = renewal.generation;
      const { incarnation, rules } = renewal;
      this.#lease = stepLease(this.#lease, { kind: "renewed", incarnation, sentAt, rules });
      if (lapsed) this.#emit("live");
    } catch (cause) {
      if (!isFault(cause, "SESSION_VOID", "SESSION_UNKNOWN", "BAD_SECRET", "STALE_INCARNATION")) throw cause;
      // SL-4: this one is over. The loop opens the next at once.
      this.#parts.logger.warn({ bootId: session.id.bootId, code: cause.code }, "session lost");
      this.#become(undefined, stepLease(this.#lease, { kind: "refused" }));
      this.#trouble = cause.message;
      this.#emit("void");
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

function sameSigned(a: SignedBytes | undefined, b: SignedBytes): boolean {
  return a !== undefined && Buffer.from(a.payload).equals(b.payload) && Buffer.from(a.signature).equals(b.signature);
}
