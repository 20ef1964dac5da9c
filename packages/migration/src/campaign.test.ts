import { IllegalStep } from "@godwit/common/lease";
import type { Failure } from "@godwit/common/retry";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type CampaignCommand,
  type CampaignEvent,
  type CampaignPlan,
  type CampaignState,
  startCampaign,
  stepCampaign,
} from "./campaign.ts";
import type { SourceOutcome } from "./source.ts";

const agentId = "a".repeat(64);
const plan: CampaignPlan = {
  agentId,
  sourceHostId: "self",
  aim: { kind: "any-candidate" },
  policy: { attempts: 3, firstDelayMs: 1_000, maxDelayMs: 30_000 },
  maxPricePerSecond: 100n,
};
const fixed = (otherwise: "give-up" | "candidates"): CampaignPlan => ({
  ...plan,
  aim: { kind: "host", hostId: "b", otherwise },
});

const down: Failure = { class: "retriable", fault: { code: "PEER_UNREACHABLE", hostId: "x", reason: "refused" } };
const busy: Failure = { class: "retriable", fault: { code: "TARGET_BUSY", hostId: "x" } };
const dear: Failure = { class: "fatal-target", fault: { code: "PRICE_TOO_HIGH", price: 200n, limit: 100n } };
const notOwner: Failure = { class: "fatal-migration", fault: { code: "NOT_OWNER", agentId } };
const lost: Failure = { class: "ambiguous", fault: { code: "DEADLINE_EXCEEDED", what: "STARTED", afterMs: 1 } };
const term = { era: 0n, major: 5n };

const failed = (failure: Failure, by: "source" | "target" = "target"): SourceOutcome => ({
  kind: "failed",
  failure,
  by,
  recovered: undefined,
});
const recovered = (failure: Failure): SourceOutcome => ({ kind: "failed", failure, by: "target", recovered: term });
const moved: SourceOutcome = { kind: "moved", hostId: "x", by: "started", ...term };

const ended = (outcome: SourceOutcome): CampaignEvent => ({ kind: "attempt-ended", outcome, draw: 0.5 });
const selected = (...hosts: readonly (string | readonly [string, bigint | undefined])[]): CampaignEvent => ({
  kind: "selected",
  candidates: hosts.map((host) =>
    typeof host === "string" ? { hostId: host, pricePerSecond: 10n } : { hostId: host[0], pricePerSecond: host[1] },
  ),
});
const scanned = (...prices: readonly (readonly [string, bigint])[]): CampaignEvent => ({
  kind: "scanned",
  prices: prices.map(([hostId, pricePerSecond]) => ({ hostId, pricePerSecond })),
});
const waited: CampaignEvent = { kind: "waited" };

function run(on: CampaignPlan, ...events: readonly CampaignEvent[]) {
  let { state, commands } = startCampaign(on);
  const all: CampaignCommand[] = [...commands];
  for (const event of events) {
    ({ state, commands } = stepCampaign(state, event));
    all.push(...commands);
  }
  const outcome = state.phase.kind === "ended" ? state.phase.outcome : undefined;
  const tried = all.flatMap((command) => (command.kind === "attempt" ? [command.hostId] : []));
  const waits = all.flatMap((command) => (command.kind === "back-off" ? [command.ms] : []));
  const reports = all.flatMap((command) => (command.kind === "report" ? [`${command.hostId} ${command.outcome}`] : []));
  return { state, all, outcome, tried, waits, reports };
}

describe("a migration with its retries", () => {
  test("GH-2: a retriable failure is tried again at the same target, at most `attempts` times, then at the next", () => {
    const first = [ended(failed(down)), waited, ended(failed(down)), waited, ended(failed(down))];
    const { tried } = run(plan, selected("b", "c"), scanned(), ...first, ended(moved));
    expect(tried).toEqual(["b", "b", "b", "c"]);
  });

  test("GH-6: delays double, with full jitter, and there is none before the next target", () => {
    const { waits } = run(plan, selected("b"), scanned(), ended(failed(busy)), waited, ended(failed(busy)));
    expect(waits).toEqual([500, 1_000]);
  });

  test("GH-2: what is fatal for a target sends it to the next at once", () => {
    const { tried, waits } = run(plan, selected("b", "c"), scanned(), ended(failed(dear)));
    expect(tried).toEqual(["b", "c"]);
    expect(waits).toEqual([]);
  });

  test("GH-2: what is fatal for the migration stops it", () => {
    const { outcome, tried } = run(plan, selected("b", "c"), scanned(), ended(failed(notOwner, "source")));
    expect(outcome).toEqual({ kind: "given-up", failure: notOwner });
    expect(tried).toEqual(["b"]);
  });

  test("GH-2: ambiguous and recovered, or refused after the token: the next candidate", () => {
    for (const outcome of [recovered(lost), recovered(busy)]) {
      const { tried, waits } = run(plan, selected("b", "c"), scanned(), ended(outcome));
      expect(tried).toEqual(["b", "c"]);
      expect(waits).toEqual([]);
    }
  });

  test("FS-2: an agent that somebody else has, or nobody, is not tried again", () => {
    const taken: SourceOutcome = { kind: "taken", hostId: "z", failure: lost, ...term };
    expect(run(plan, selected("b", "c"), scanned(), ended(taken)).outcome?.kind).toBe("given-up");
    const gone: SourceOutcome = { kind: "gone", failure: lost };
    expect(run(plan, selected("b", "c"), scanned(), ended(gone)).outcome?.kind).toBe("given-up");
  });

  test("FS-2: while nobody knows who has the agent, no other target is tried", () => {
    const unresolved: SourceOutcome = { kind: "unresolved", failure: lost };
    const { tried, outcome } = run(plan, selected("b", "c"), scanned(), ended(unresolved));
    expect(tried).toEqual(["b"]);
    expect(outcome).toEqual({ kind: "given-up", failure: lost });
  });

  test("GH-7: the price just told decides over the registry's: cheapest first, too dear not at all, unknown last", () => {
    const { tried } = run(
      plan,
      selected(["a", 20n], ["b", 30n], ["c", undefined], ["d", 1n], ["e", 30n]),
      scanned(["b", 5n], ["d", 101n]),
      ended(failed(dear)),
      ended(failed(dear)),
      ended(failed(dear)),
      ended(failed(dear)),
    );
    expect(tried).toEqual(["b", "a", "e", "c"]);
  });

  test("GH-7: a used-up list is asked for once more, without those that were fatal or had all their attempts", () => {
    const { all, outcome } = run(
      plan,
      selected("b", "c"),
      scanned(),
      ended(failed(dear)),
      ended(recovered(lost)),
      selected(),
    );
    const asked = all.filter((command) => command.kind === "select");
    expect(asked.map(({ excluded }) => excluded)).toEqual([["self"], ["self", "b"]]);
    expect(outcome).toEqual({ kind: "given-up", failure: lost });
  });

  test("GH-2: after an ambiguous attempt at a named host the next candidate is another one, if there is any", () => {
    const { tried } = run(
      fixed("candidates"),
      ended(recovered(lost)),
      selected("b", "c"),
      scanned(),
      ended(failed(dear)),
      waited,
    );
    expect(tried).toEqual(["b", "c", "b"]);
  });

  test("a host that the registry names although it is excluded is left out all the same", () => {
    const { tried } = run(
      plan,
      selected("self", "b"),
      scanned(),
      ended(failed(dear)),
      selected("b", "self", "c"),
      scanned(),
    );
    expect(tried).toEqual(["b", "c"]);
  });

  test("attempts at one target are counted over both lists", () => {
    const again = [ended(recovered(lost)), selected("b"), scanned(), waited];
    const events = [...again, ended(failed(busy)), waited, ended(failed(busy))];
    const { tried, outcome } = run(plan, selected("b"), scanned(), ...events);
    expect(tried).toEqual(["b", "b", "b"]);
    expect(outcome?.kind).toBe("given-up");
  });

  test("GH-6: a target that is named again is retried, with a back-off and within its budget (seed 1000173)", () => {
    const twice = [selected("b"), scanned(), ended(recovered(lost)), selected("b"), scanned()];
    const { tried, waits, all } = run(plan, ...twice);
    expect(tried).toEqual(["b"]);
    expect(waits).toHaveLength(1);
    expect(all.at(-1)).toMatchObject({ kind: "back-off", hostId: "b" });
    const poor = run(plan, ...twice, { kind: "no-budget" });
    expect(poor.tried).toEqual(["b"]);
    expect(poor.outcome).toEqual({ kind: "given-up", failure: lost });
  });

  test("a named host comes first; the registry is asked only when the caller allows others", () => {
    const alone = run(fixed("give-up"), ended(failed(dear)));
    expect(alone.outcome).toEqual({ kind: "given-up", failure: dear });
    expect(alone.all.some(({ kind }) => kind === "select")).toBe(false);
    expect(run(fixed("candidates"), ended(failed(dear)), selected("c"), scanned()).tried).toEqual(["b", "c"]);
  });

  test("the host on which it runs is no target", () => {
    const { outcome } = run({ ...plan, aim: { kind: "host", hostId: "self", otherwise: "candidates" } });
    expect(outcome).toMatchObject({ failure: { class: "fatal-migration", fault: { code: "AGENT_EXISTS" } } });
  });

  test("nobody there: NO_CANDIDATE", () => {
    const { outcome } = run(plan, selected(), selected());
    expect(outcome).toMatchObject({ failure: { fault: { code: "NO_CANDIDATE", agentId } } });
  });

  test("a registry that does not answer is asked again after a back-off, and not for ever", () => {
    const silent: CampaignEvent = {
      kind: "select-failed",
      failure: { class: "retriable", fault: { code: "REGISTRY_UNAVAILABLE", reason: "no answer" } },
      draw: 0.5,
    };
    expect(run(plan, silent, waited, selected("b"), scanned()).tried).toEqual(["b"]);
    const { outcome, waits } = run(plan, silent, waited, silent, waited, silent);
    expect(waits).toEqual([500, 1_000]);
    expect(outcome).toMatchObject({ failure: { fault: { code: "REGISTRY_UNAVAILABLE" } } });
  });

  test("GH-6: a target whose retry budget is used up is left alone", () => {
    const { tried } = run(plan, selected("b", "c"), scanned(), ended(failed(busy)), { kind: "no-budget" });
    expect(tried).toEqual(["b", "c"]);
  });

  test("GH-7: success and a target's own failures are reported; being dear, busy or our own trouble are not", () => {
    const reports = (outcome: SourceOutcome) => run(plan, selected("b"), scanned(), ended(outcome)).reports;
    expect(reports(moved)).toEqual(["b success"]);
    expect(reports(failed(down))).toEqual(["b failure"]);
    expect(reports(recovered(lost))).toEqual(["b failure"]);
    expect(reports(failed(dear))).toEqual([]);
    expect(reports(failed(busy))).toEqual([]);
    expect(reports(failed(down, "source"))).toEqual([]);
  });

  describe("GH-6: cancelled, or out of time", () => {
    const cancelled: CampaignEvent = { kind: "cancelled" };

    test("between attempts it ends at once", () => {
      for (const events of [[], [selected("b")], [selected("b"), scanned(), ended(failed(busy))]]) {
        expect(run(plan, ...events, cancelled).outcome).toMatchObject({ failure: { fault: { code: "CANCELLED" } } });
      }
    });

    test("during an attempt it waits for the attempt's own end, which may be a success", () => {
      const during = run(plan, selected("b", "c"), scanned(), cancelled, cancelled);
      expect(during.all.filter(({ kind }) => kind === "cancel-attempt").length).toBe(1);
      expect(during.outcome).toBeUndefined();
      expect(run(plan, selected("b", "c"), scanned(), cancelled, ended(moved)).outcome?.kind).toBe("moved");
      const late = run(plan, selected("b", "c"), scanned(), { kind: "deadline", afterMs: 9 }, ended(recovered(lost)));
      expect(late.tried).toEqual(["b"]);
      expect(late.outcome).toMatchObject({ failure: { fault: { code: "DEADLINE_EXCEEDED" } } });
    });
  });

  test("an answer that nothing asked for is a bug of the driver", () => {
    expect(() => run(plan, waited)).toThrow(IllegalStep);
    expect(() => run(plan, selected("b"), ended(moved))).toThrow(IllegalStep);
    expect(() => run(plan, selected("b"), scanned(), scanned())).toThrow(IllegalStep);
  });
});

const HOSTS = ["b", "c", "d"] as const;
const outcomes: readonly SourceOutcome[] = [
  failed(busy),
  failed(down),
  failed(dear),
  failed(notOwner, "source"),
  failed(down, "source"),
  recovered(lost),
  recovered(dear),
  moved,
];
const step = fc.record({ pick: fc.nat(1_000), draw: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }) });

/** Answers what was commanded, in any way. */
function answer(command: CampaignCommand, pick: number, draw: number): CampaignEvent | undefined {
  switch (command.kind) {
    case "select":
      if (pick % 5 === 0) return { kind: "select-failed", failure: down, draw };
      return selected(...HOSTS.filter((_, index) => (pick >> index) % 2 === 0));
    case "scan":
      return scanned(
        ...command.hostIds.map((hostId, index): [string, bigint] => [hostId, BigInt((pick * (index + 7)) % 130)]),
      );
    case "attempt": {
      // Mostly failures, or few walks would be long.
      const outcome = outcomes[pick % (pick % 7 === 0 ? outcomes.length : 3)];
      return outcome && { kind: "attempt-ended", outcome, draw };
    }
    case "back-off":
      return pick % 6 === 0 && command.hostId !== undefined ? { kind: "no-budget" } : waited;
    default:
      return undefined;
  }
}

describe("a migration with its retries, whatever happens", () => {
  test("GH-2, GH-6: ends; never more attempts than allowed at one target, never one after a fatal answer, at most two lists", () => {
    let longest = 0;
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 60, size: "max" }),
        fc.constantFrom(plan, fixed("give-up"), fixed("candidates")),
        (steps, on) => {
          let { state, commands }: { state: CampaignState; commands: readonly CampaignCommand[] } = startCampaign(on);
          const attempts = new Map<string, number>();
          const fatal = new Set<string>();
          let lists = 0;
          let ends = 0;
          let delays = 0;
          const note = () => {
            for (const command of commands) {
              if (command.kind === "end") ends++;
              if (command.kind === "back-off") {
                delays++;
                expect(command.ms).toBeLessThanOrEqual(on.policy.maxDelayMs);
              }
              if (command.kind !== "attempt") continue;
              expect(fatal.has(command.hostId)).toBe(false);
              const number = (attempts.get(command.hostId) ?? 0) + 1;
              attempts.set(command.hostId, number);
              expect(command.number).toBe(number);
              expect(number).toBeLessThanOrEqual(on.policy.attempts);
            }
          };
          note();
          for (let index = 0; state.phase.kind !== "ended"; index++) {
            expect(index).toBeLessThan(200);
            const { pick, draw } = steps[index % steps.length] ?? { pick: 0, draw: 0 };
            let event: CampaignEvent | undefined;
            for (const command of commands) event = answer(command, pick + index, draw) ?? event;
            if (event === undefined) throw new Error(`nothing to answer while ${state.phase.kind}`);
            if (state.phase.kind === "attempting" && event.kind === "attempt-ended") {
              if (event.outcome.kind === "failed" && event.outcome.failure.class === "fatal-target") {
                fatal.add(state.phase.hostId);
              }
            }
            if (event.kind === "selected") lists++;
            ({ state, commands } = stepCampaign(state, event));
            note();
            longest = Math.max(longest, delays);
          }
          expect(lists).toBeLessThanOrEqual(2);
          expect(ends).toBe(1);
        },
      ),
      { numRuns: 2_000 },
    );
    expect(longest).toBeGreaterThan(3);
  });
});
