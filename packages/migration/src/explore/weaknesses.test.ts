import {
  type AuthorityRecord,
  type Command,
  decide,
  type ForceRecover,
  mayReassert,
  mayTick,
  stepTenure,
} from "@godwit/common/lease";
import { describe, expect, test } from "vitest";
import { judgeLoss } from "../after-loss.ts";
import { judge } from "../judge.ts";
import { stepSource } from "../source.ts";
import { search } from "./engine/search.ts";
import { Cluster, type ClusterOptions } from "./model/cluster.ts";
import type { Rules } from "./model/rules.ts";

// Each weakness is a production function, wrapped; the model is the smallest one in which it shows.

const patient = { timeout: 300_000 };
const maxStates = 3_000_000;

function explore(rules: Partial<Rules>, budgets: ClusterOptions["budgets"], more: Partial<ClusterOptions> = {}) {
  const { verdict, counterexample } = search(new Cluster({ hosts: ["A", "B"], budgets, rules, ...more }), {
    maxStates,
  });
  return { verdict, rule: counterexample?.rule ?? "", steps: counterexample?.steps.length ?? 0 };
}

const early = { monotonicMs: 0, wallMs: 0 };

type Decide = typeof decide;

/** `decide`, with what it applies changed. */
function applying(
  change: (
    before: AuthorityRecord | undefined,
    after: AuthorityRecord,
    command: Command | ForceRecover,
  ) => AuthorityRecord,
): Decide {
  return (record, command, facts) => {
    const decision = decide(record, command, facts);
    return decision.kind === "applied" ? { ...decision, record: change(record, decision.record, command) } : decision;
  };
}

describe("a weakness that is put back is found", patient, () => {
  test("GA-1: a host that ticks after its deadline", () => {
    const weak: typeof mayTick = (tenure, lease, session) => mayTick(tenure, lease, session, early);
    expect(explore({ mayTick: weak }, { ticks: 1, expiries: 1 })).toMatchObject({
      verdict: "violated",
      rule: expect.stringMatching(/EI-1/),
    });
  });

  test("SL-3: a registry that closes a session before its host's deadline", () => {
    const found = explore({}, { ticks: 1 }, { timing: { closesEarly: true } });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-1/) });
  });

  test("GA-1: a host that ticks under whatever lease it has, not only its grant's", () => {
    const weak: typeof mayTick = (tenure, lease, session, now) =>
      tenure.kind === "ACTIVE_OWNER" && lease.kind === "open"
        ? mayTick(
            { ...tenure, grant: { ...tenure.grant, session, incarnation: lease.incarnation } },
            lease,
            session,
            now,
          )
        : mayTick(tenure, lease, session, now);
    const found = explore({ mayTick: weak }, { ticks: 1, wipes: 1 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-1/) });
  });

  test("§4: a recovery that does not raise the major", () => {
    const weak = applying((before, after, { kind }) =>
      kind === "recover" && before !== undefined ? { ...after, era: before.era, major: before.major } : after,
    );
    const found = explore({ decide: weak }, { ticks: 1, expiries: 1 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/given to .* and again to/) });
  });

  test("§4: a claim that does not raise the major", () => {
    const weak = applying((before, after, { kind }) =>
      kind === "claim" && before !== undefined ? { ...after, major: before.major } : after,
    );
    const found = explore({ decide: weak }, { ticks: 1, migrations: 1 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/given to .* and again to/) });
  });

  test("§4: a claim that is granted without comparing the handoff and its state", () => {
    const weak: Decide = (record, command, facts) => {
      if (command.kind !== "claim" || record === undefined) return decide(record, command, facts);
      const { era, major, head } = record;
      const { digest: checkpointDigest, tick } = head;
      const token = { ...command.token, era, major, checkpointDigest, tick };
      const handoff = { id: token.handoffId, targetHostId: token.targetHostId };
      return decide(
        { ...record, state: "HANDOFF_INITIATED", handoff },
        { ...command, token },
        { ...facts, tokenSignedByOwner: true },
      );
    };
    const found = explore({ decide: weak }, { ticks: 1, migrations: 1, losses: 1 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-1|EI-10/) });
  });

  test("SL-2: a recovery that does not ask whether the owner's session is void", () => {
    const weakDecide: Decide = (record, command, facts) => decide(record, command, { ...facts, ownerVoid: true });
    const weakJudge: typeof judge = (reading, situation) =>
      judge(reading.kind === "record" ? { ...reading, ownerVoid: true } : reading, situation);
    const found = explore({ decide: weakDecide, judge: weakJudge }, { ticks: 1, expiries: 1 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-1/) });
  });

  test("GH-1: a source that takes the agent back after it has relinquished", () => {
    const weakTenure: typeof stepTenure = (tenure, event) =>
      event.kind === "relinquished" ? tenure : stepTenure(tenure, event);
    const weakSource: typeof stepSource = (state, event) => {
      const step = stepSource(state, event);
      return state.phase.kind === "handing-off" && step.state.phase.kind === "resolving"
        ? {
            ...step,
            commands: [
              { kind: "thaw" },
              { kind: "end", outcome: { kind: "gone", failure: { class: "retriable", fault: { code: "INTERNAL" } } } },
            ],
          }
        : step;
    };
    const found = explore({ stepTenure: weakTenure, stepSource: weakSource }, { ticks: 1, migrations: 1, losses: 1 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-1/) });
  });

  test("GA-8: a host that reasserts what it has relinquished", () => {
    const innocent = { relinquished: undefined, spent: undefined };
    const weakRight: typeof mayReassert = (tenure, facts) => mayReassert({ ...tenure, ...innocent }, facts);
    const weakTenure: typeof stepTenure = (tenure, event) =>
      stepTenure(event.kind === "reasserted" ? { ...tenure, ...innocent } : tenure, event);
    const found = explore({ mayReassert: weakRight, stepTenure: weakTenure }, { ticks: 1, migrations: 1, wipes: 1 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-1|EI-7/) });
  });

  test("GA-8: a host that reasserts although its deadline has passed", () => {
    const found = explore(
      {
        reassertsFrom: (lease) => (lease.kind === "open" ? (lease.from ?? lease.incarnation) : undefined),
        mayReassert: (tenure, facts) =>
          mayReassert(tenure, { ...facts, lease: { ...facts.lease, lapsed: false } as typeof facts.lease, now: early }),
      },
      { ticks: 1, expiries: 1, wipes: 1 },
    );
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-1|EI-7/) });
  });

  test("GA-6: a quarantine that is shorter than a lease", () => {
    const found = explore({}, { ticks: 1, wipes: 1 }, { timing: { quarantineTooShort: true } });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-1/) });
  });

  test("GA-9: a recovery after a loss under the next major instead of a new era", () => {
    const weak = applying((before, after, { kind }) =>
      kind === "recover" && after.afterLoss !== undefined
        ? { ...after, era: 0n, major: (before?.major ?? after.unconfirmed?.major ?? 0n) + 1n }
        : after,
    );
    const found = explore({ decide: weak }, { ticks: 1, migrations: 1, rollbacks: 1 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/given to .* and again to/) });
  });

  test("GA-9: a holder that waits for a record that nobody will confirm", () => {
    const weak: typeof judgeLoss = (reading, situation) => {
      const verdict = judgeLoss(reading, situation);
      return verdict.kind === "recover" ? { kind: "wait" } : verdict;
    };
    expect(explore({ judgeLoss: weak }, { ticks: 0, wipes: 1 }).verdict).toBe("stuck");
  });

  test("EI-3: a host that takes a major up again from its base, though it has ticked under it", () => {
    const weak: typeof judge = (reading, situation) => judge(reading, { ...situation, taken: undefined });
    const found = explore({ judge: weak }, { ticks: 2, migrations: 2, losses: 2 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-3/) });
  });

  test("§4: a host that takes the former major up while its recover may still arrive", () => {
    const weak: typeof judge = (reading, situation) => {
      const { journal } = situation;
      const seen = journal.phase === "recovering" ? ({ phase: "acquiring" } as const) : journal;
      return judge(reading, { ...situation, journal: seen, taken: undefined });
    };
    const found = explore({ judge: weak }, { ticks: 2, migrations: 1, losses: 2 });
    expect(found).toMatchObject({ verdict: "violated", rule: expect.stringMatching(/EI-3/) });
  });
});
