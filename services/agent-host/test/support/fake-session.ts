// A host's session with the registry, opened, renewed and lost as a test wants it.

import type { Clock } from "@godwit/common/clock";
import {
  type ClockReading,
  type LeaseRules,
  noticeLapse,
  openLease,
  type SessionLease,
  stepLease,
} from "@godwit/common/lease";
import type { HostSession } from "../../src/agents/supervisor-parts.ts";
import type { HeldSession } from "../../src/registry/ports.ts";
import type { SessionEvent } from "../../src/registry/session-keeper.ts";
import { INCARNATION, type MemoryRegistry } from "./memory-registry.ts";

const rules: LeaseRules = { durationMs: 3_600_000, graceMs: 1_000, renewEveryMs: 1_000_000 };
const voided: SessionLease = { kind: "void" };

export class FakeSession implements HostSession {
  readonly hostId: string;
  readonly #clock: Clock;
  readonly #registry: MemoryRegistry;
  readonly #listeners = new Map<string, (() => void)[]>();
  current: HeldSession | undefined;
  lease: SessionLease = voided;
  generation = 0n;
  trouble: string | undefined;
  quarantine: string | undefined;
  readonly closedEarlier: string[] = [];
  suspicions = 0;

  constructor(parts: { readonly clock: Clock; readonly registry: MemoryRegistry; readonly hostId: string }) {
    this.#clock = parts.clock;
    this.#registry = parts.registry;
    this.hostId = parts.hostId;
  }

  reading(): ClockReading {
    return { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.now().getTime() };
  }

  on(event: SessionEvent, listener: () => void): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  async closeEarlier(bootId: string): Promise<void> {
    this.closedEarlier.push(bootId);
    this.#registry.endSession({ hostId: this.hostId, bootId });
  }

  open(bootId: string): void {
    const id = { hostId: this.hostId, bootId };
    const { incarnation, counter } = this.#registry.mark;
    this.current = { id, secret: new Uint8Array(32), incarnation, counter };
    this.lease = openLease(incarnation, this.reading(), rules);
    this.generation = 0n;
    this.#emit("opened");
  }

  suspect(): void {
    this.suspicions++;
  }

  /** GA-7: a `reassert` was answered, and the session is one of the registry's present incarnation. */
  bringOver(): void {
    const { incarnation, counter } = this.#registry.mark;
    const sentAt = this.reading();
    this.lease = stepLease(noticeLapse(this.lease, sentAt), { kind: "reasserted", incarnation, sentAt, rules });
    if (this.current !== undefined) this.current = { ...this.current, incarnation, counter };
    this.#emit("brought-over");
  }

  /** The quarantine is over, and a renewal has told of it. */
  settled(): void {
    this.#emit("settled");
  }

  renew(incarnation = INCARNATION): void {
    this.lease = stepLease(this.lease, { kind: "renewed", incarnation, sentAt: this.reading(), rules });
    this.generation += 1n;
    this.#emit("live");
  }

  /** The local deadline passes now. */
  lapse(): void {
    this.lapseIn(0);
  }

  lapseIn(ms: number): void {
    if (this.lease.kind === "open") this.lease = { ...this.lease, deadlineMs: this.#clock.monotonicMs() + ms };
  }

  /** SL-4: the registry says that it is void. */
  lose(): void {
    if (this.current !== undefined) this.#registry.endSession(this.current.id);
    this.close();
    this.#emit("void");
  }

  /** SL-6: `close_session` is about to be sent. */
  close(): void {
    this.current = undefined;
    this.lease = voided;
  }

  #emit(event: string): void {
    for (const listener of this.#listeners.get(event) ?? []) listener();
  }
}
