// Purse, checkpoints and the rules of headers together: whatever happens to an agent's money, nothing is lost or made.

import { MAX_MICROCENTS } from "@godwit/common/money";
import { type Checkpoint, checkWallet, encodeReceipt, readReceipt, refOf, verifyLineage } from "@godwit/lineage";
import { type Host, registry } from "@godwit/lineage/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ada, bob, cleo, createAgent, grantOf } from "../../test/storage-story.ts";
import { nextCheckpoint } from "./checkpoints.ts";
import { charge, exhaust, fund, type Purse } from "./purse.ts";
import type { Ground } from "./tenancy.ts";

const FRACTIONS = 1_000_000_000n;
const TICK_NS = 400_000n;

/** An agent's money on its way: hosts that charge, pay in, write checkpoints and hand over. */
class Journey {
  readonly created = createAgent(ada);
  readonly checkpoints: Checkpoint[] = [this.created];
  /** Exactly, in fractions of a microcent; what exhaustion took is not in it. */
  worth = 0n;
  exhaustions = 0;
  host: Host = ada;
  tick = 0n;
  purse: Purse = { budget: this.created.header.budget, remainder: 0n, receipts: [] };
  #major = 0n;
  #base = this.created;

  get latest(): Checkpoint {
    return this.checkpoints.at(-1) ?? this.created;
  }

  run(elapsedNs: bigint, pricePerSecond: bigint): void {
    const tick = { hostId: this.host.hostId, tick: ++this.tick, elapsedNs, pricePerSecond };
    const after = charge(this.purse, tick);
    if (after === undefined) this.exhaustions++;
    else this.worth += elapsedNs * pricePerSecond;
    this.purse = after ?? exhaust(this.purse, tick);
    if (this.purse.receipts.length >= 12) this.write();
  }

  pay(funded: bigint, pricePerSecond: bigint): void {
    const fundingId = `${this.tick}`.padStart(32, "0");
    const after = fund(this.purse, {
      hostId: this.host.hostId,
      tick: this.tick + 1n,
      pricePerSecond,
      funded,
      fundingId,
    });
    if (after === undefined) return;
    this.tick++;
    this.purse = after;
    this.write();
  }

  write(): void {
    if (this.latest.header.tick === this.tick) return;
    const { agentId, moduleDigest, manifestDigest } = this.created.header;
    const [era, major] = [0n, this.#major];
    const origin = major === 0n ? "created" : "migrated";
    const grant = grantOf(agentId, { era, major }, this.host);
    const ground: Ground = { grant, era, major, base: refOf(this.#base), origin, rolledBackFromTick: undefined };
    const checkpoint = nextCheckpoint(
      {
        ...{ agentId, moduleDigest, manifestDigest, ...this.purse, tick: this.tick, generation: this.tick },
        state: new TextEncoder().encode(`tick ${this.tick}`),
        pricePerSecond: 1_000n,
        writtenAt: new Date(0),
        eventsDigest: "00".repeat(32),
      },
      { previous: this.latest, ground, signer: this.host.signer },
    );
    this.checkpoints.push(checkpoint);
    this.purse = { ...this.purse, receipts: [] };
  }

  move(to: Host): void {
    this.write();
    if (this.latest.header.major !== this.#major || this.latest === this.#base) return; // it has not ticked here
    this.#base = this.latest;
    this.#major++;
    this.host = to;
  }

  report() {
    return verifyLineage(
      this.checkpoints.map(({ signed }) => signed),
      registry.publicKey,
    );
  }

  get wallet(): readonly Uint8Array[] {
    return this.checkpoints.flatMap(({ header }) => header.receipts.map(encodeReceipt));
  }
}

type Step = (journey: Journey) => void;

describe("an agent's money", () => {
  test.each([
    ["on one host", [ada], [1_000n]],
    ["over checkpoints and moves", [ada, bob, cleo], [1_000n]],
    ["over hosts with other prices", [ada, bob, cleo], [1_000n, 333n, 7n]],
  ] as const)(
    "T-39: 10,000 ticks of 0.4 ms cost what they are worth, to less than a microcent, %s",
    (_, hosts, prices) => {
      const journey = new Journey();
      for (let tick = 0; tick < 10_000; tick++) {
        const leg = Math.floor(tick / 1_001);
        if (tick % 1_001 === 0 && hosts.length > 1 && tick > 0) journey.move(hosts[leg % hosts.length] ?? ada);
        journey.run(TICK_NS, prices[leg % prices.length] ?? 1_000n);
        if (tick % 97 === 0) journey.write();
      }
      journey.write();
      const { ok, receipts } = journey.report();
      expect(ok).toBe(true);
      const exact = (prices.length === 1 ? 10_000n * 1_000n : journey.worth / TICK_NS) * TICK_NS;
      expect(receipts.cost * FRACTIONS + journey.purse.remainder).toBe(exact);
      if (prices.length === 1) expect(receipts.cost).toBe(4_000n);
      expect(receipts.cost).toBe(journey.created.header.budget - journey.purse.budget);
    },
  );

  test("I6: of any sequence of ticks, fundings, moves and exhaustions, what came in is what is left and what was charged", () => {
    const price = fc.constantFrom(0n, 1n, 700n, 1_000_000n);
    const times = fc.bigInt(0n, 10n ** 9n);
    const run = fc.tuple(times, price).map(
      ([ns, cost]): Step =>
        (journey) =>
          journey.run(ns, cost),
    );
    const amounts = fc.oneof(fc.bigInt(1n, 100_000n), fc.bigInt(1n, 2n * MAX_MICROCENTS));
    const pay = fc.tuple(amounts, price).map(
      ([amount, cost]): Step =>
        (journey) =>
          journey.pay(amount, cost),
    );
    const move = fc.constantFrom(ada, bob, cleo).map(
      (to): Step =>
        (journey) =>
          journey.move(to),
    );
    const write = fc.constant<Step>((journey) => journey.write());
    const step = fc.oneof(
      { weight: 6, arbitrary: run },
      { weight: 4, arbitrary: pay },
      { weight: 2, arbitrary: move },
      write,
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const journey = new Journey();
        for (const each of steps) {
          each(journey);
          expect(journey.purse.budget >= 0n && journey.purse.budget <= MAX_MICROCENTS).toBe(true);
        }
        journey.write();
        const { problems, receipts } = journey.report();
        expect(problems).toEqual([]);
        expect(journey.created.header.budget + receipts.funded).toBe(journey.purse.budget + receipts.cost);
        const charged = receipts.cost * FRACTIONS + journey.purse.remainder;
        if (journey.exhaustions === 0) expect(charged).toBe(journey.worth);
        // And what a target would be shown of it.
        const owners = journey.checkpoints.toReversed().map(({ header }) => ({ header, hostId: hostOf(header) }));
        expect(checkWallet(journey.wallet, owners)).toEqual(journey.wallet.map(readReceipt));
      }),
      { numRuns: 150 },
    );
  });
});

function hostOf({ receipts }: Checkpoint["header"]): string {
  return receipts[0]?.hostId ?? ada.hostId;
}
