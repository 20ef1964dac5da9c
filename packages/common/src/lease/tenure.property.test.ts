// Random lives of one agent on one host: every event at any time, in doubt and out of it, with a lease that lapses and a
// session that ends. What a host must never do is never done, whatever it is told.

import fc from "fast-check";
import { expect, test } from "vitest";
import { compareTerms, formatTerm, type Term } from "./epoch.ts";
import type { SessionId } from "./record.ts";
import {
  type ClockReading,
  covers,
  noticeLapse,
  openLease,
  remainingMs,
  type SessionLease,
  stepLease,
} from "./session-lease.ts";
import {
  type Doubt,
  IllegalStep,
  mayReassert,
  mayTick,
  stepTenure,
  type Tenure,
  type TenureEvent,
  untrusted,
} from "./tenure.ts";

const rules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };
const doubts: readonly Doubt[] = [
  "restarted",
  "session-void",
  "ambiguous-handoff",
  "refused-after-token",
  "outcome-unknown",
  "lost-grant",
  "divergent-lineage",
];

type Step =
  | { readonly kind: "tenure"; readonly event: Exclude<TenureEvent["kind"], "reasserted">; readonly pick: number }
  /** The registry gives the next term, as it does when all is well. */
  | { readonly kind: "next-term"; readonly baseConfirmed: boolean }
  | { readonly kind: "renew" }
  /** The host is told of the present incarnation, and brings over what it may (GA-8). */
  | { readonly kind: "reassert" }
  | { readonly kind: "time-goes-by"; readonly ms: number }
  | { readonly kind: "new-session" }
  | { readonly kind: "other-incarnation" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("tenure" as const),
      event: fc.constantFrom(
        ...([
          "granted",
          "base-confirmed",
          "freeze",
          "reverted",
          "relinquished",
          "doubt",
          "retired",
          "sending",
        ] as const),
      ),
      pick: fc.nat({ max: 100 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("next-term" as const), baseConfirmed: fc.boolean() }) },
  { weight: 3, arbitrary: fc.constant<Step>({ kind: "renew" }) },
  { weight: 5, arbitrary: fc.constant<Step>({ kind: "reassert" }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("time-goes-by" as const), ms: fc.constantFrom(100, 3_000, 9_000) }),
  },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "new-session" }) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: "other-incarnation" }) },
);

/** One host, and what it has been told so far. */
class Host {
  tenure: Tenure = untrusted;
  session: SessionId = { hostId: "host", bootId: "0" };
  incarnation = "0";
  newest: Term = { era: 0n, major: 0n };
  /** By the model: the deadline was seen to have passed since the last renewal under the incarnation before the present. */
  lapsed = false;
  /** Terms under which something was sent that may have ended them. */
  readonly spent: Term[] = [];
  #nowMs = 0;
  lease: SessionLease = openLease(this.incarnation, this.now(), rules);

  now(): ClockReading {
    return { monotonicMs: this.#nowMs, wallMs: 1_700_000_000_000 + this.#nowMs };
  }

  /** The event of the tenure, if the step is one and its state could hear it. */
  run(one: Step): TenureEvent | undefined {
    switch (one.kind) {
      case "renew":
        if (this.lease.kind === "void" || this.lease.incarnation !== this.incarnation) return undefined; // refused
        if (this.lease.from === undefined) this.lapsed = false;
        this.lease = stepLease(this.lease, {
          kind: "renewed",
          incarnation: this.incarnation,
          sentAt: this.now(),
          rules,
        });
        return undefined;
      case "time-goes-by":
        this.#nowMs += one.ms;
        this.lapsed ||= remainingMs(this.lease, this.now()) === 0;
        this.lease = noticeLapse(this.lease, this.now());
        return undefined;
      case "reassert":
        return this.#reassert();
      case "other-incarnation":
        this.incarnation = `${Number(this.incarnation) + 1}`;
        return undefined;
      case "new-session":
        this.session = { ...this.session, bootId: `${Number(this.session.bootId) + 1}` };
        this.lease = openLease(this.incarnation, this.now(), rules);
        this.lapsed = false;
        return undefined;
      case "next-term":
        this.newest = { ...this.newest, major: this.newest.major + 1n };
        return this.#hear(this.#grantOf(this.newest, one.baseConfirmed));
      case "tenure":
        return this.#hear(this.#event(one.event, one.pick));
    }
  }

  #reassert(): TenureEvent | undefined {
    const { lease, session, tenure } = this;
    if (lease.kind === "void") return undefined;
    const right = mayReassert(tenure, { lease, session, to: this.incarnation, now: this.now() });
    if (right.kind === "may-not") return undefined;
    const { grant } = right;
    expect(this.lapsed, "GA-8: nothing once the deadline has passed").toBe(false);
    expect(grant.incarnation, "GA-8: only of the very incarnation it comes from").toBe(
      lease.incarnation === this.incarnation ? lease.from : lease.incarnation,
    );
    for (const spent of [...this.spent, ...(tenure.relinquished === undefined ? [] : [tenure.relinquished])]) {
      expect(compareTerms(grant, spent), "GA-8: nothing that was given up").toBeGreaterThan(0);
    }
    this.lease = stepLease(lease, { kind: "reasserted", incarnation: this.incarnation, sentAt: this.now(), rules });
    return this.#hear({ kind: "reasserted", grant: { ...grant, incarnation: this.incarnation } });
  }

  #hear(event: TenureEvent): TenureEvent | undefined {
    try {
      if (event.kind === "sending" && "grant" in this.tenure) this.spent.push(this.tenure.grant);
      if (
        event.kind === "sending" &&
        this.tenure.kind === "RECOVERY_REQUIRED" &&
        this.tenure.revertible !== undefined
      ) {
        this.spent.push(this.tenure.revertible);
      }
      this.tenure = stepTenure(this.tenure, event);
      return event;
    } catch (cause) {
      if (cause instanceof IllegalStep) return undefined;
      throw cause;
    }
  }

  #grantOf({ era, major }: Term, baseConfirmed: boolean): TenureEvent {
    const grant = { era, major, session: this.session, incarnation: this.incarnation };
    return { kind: "granted", grant, baseConfirmed };
  }

  /** Grants are of any term up to the newest: answers that were delayed. */
  #event(kind: Exclude<TenureEvent["kind"], "reasserted">, pick: number): TenureEvent {
    switch (kind) {
      case "granted":
        return this.#grantOf({ era: 0n, major: this.newest.major - (BigInt(pick) % (this.newest.major + 1n)) }, true);
      case "freeze":
        return { kind, handoffId: `${pick}` };
      case "doubt":
        return { kind, doubt: doubts[pick % doubts.length] ?? "restarted" };
      case "retired":
        return { kind, why: pick % 2 === 0 ? "migrated" : "stopped" };
      case "sending":
        return { kind, command: pick % 2 === 0 ? "release" : "recover" };
      default:
        return { kind };
    }
  }
}

test("GA-1, GA-8, GH-1: whatever a host hears, it reasserts nothing that it gave up or let lapse, and ticks under no term that it relinquished, and under no grant that is not live", () => {
  const happened = new Map<string, number>();
  const count = (what: string) => happened.set(what, (happened.get(what) ?? 0) + 1);
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
      const host = new Host();
      let given: Term | undefined;
      const unconfirmed = new Set<string>();
      for (const one of steps) {
        const before = host.tenure;
        const event = host.run(one);
        if (event !== undefined) count(event.kind);

        if (event?.kind === "relinquished" && before.kind === "HANDOFF_INITIATED") {
          if (given !== undefined) {
            expect(compareTerms(before.grant, given), "GH-1: no term is relinquished twice").toBeGreaterThan(0);
          }
          given = { era: before.grant.era, major: before.grant.major };
        }
        if (event?.kind === "granted") {
          if (event.baseConfirmed) unconfirmed.delete(formatTerm(event.grant));
          else unconfirmed.add(formatTerm(event.grant));
        }
        if (event?.kind === "base-confirmed" && before.kind === "ACTIVE_OWNER") {
          unconfirmed.delete(formatTerm(before.grant));
        }
        if (event?.kind === "reverted") {
          expect(["HANDOFF_INITIATED", "RECOVERY_REQUIRED"]).toContain(before.kind);
        }

        const { tenure } = host;
        if (given !== undefined) {
          expect(tenure.relinquished, "GH-1: what was relinquished is never forgotten").toEqual(given);
        }
        const held = tenure.kind === "ACTIVE_OWNER" || tenure.kind === "HANDOFF_INITIATED" ? tenure.grant : undefined;
        if (held !== undefined && given !== undefined) {
          expect(compareTerms(held, given), "GH-1: a relinquished term is never taken up").toBeGreaterThan(0);
        }
        if (mayTick(tenure, host.lease, host.session, host.now()).kind !== "may") continue;
        count("may tick");
        if (given !== undefined) count("may tick after a handoff");
        if (tenure.kind !== "ACTIVE_OWNER") throw new Error(`ticks in ${tenure.kind}`);
        expect(tenure.grant.session, "GA-1: a grant of this session").toEqual(host.session);
        expect(covers(host.lease, tenure.grant, host.now()), "GA-1: a live lease of its incarnation").toBe(true);
        expect(unconfirmed.has(formatTerm(tenure.grant)), "§4: the base is confirmed").toBe(false);
      }
    }),
    { numRuns: 4_000, seed: 20_401 },
  );
  // A life in which nothing happens proves nothing.
  for (const what of [
    "granted",
    "base-confirmed",
    "freeze",
    "reverted",
    "relinquished",
    "doubt",
    "retired",
    "sending",
    "reasserted",
  ]) {
    expect(happened.get(what) ?? 0, what).toBeGreaterThan(100);
  }
  expect(happened.get("may tick after a handoff") ?? 0).toBeGreaterThan(100);
});
