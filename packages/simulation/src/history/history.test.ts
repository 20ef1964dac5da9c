import { createGenesis, hostIdOf, signerFromSeed, writeCheckpoint } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { Timeline } from "../time/timeline.ts";
import { History } from "./history.ts";

const a = { hostId: "host-a", bootId: "boot-1" };
const b = { hostId: "host-b", bootId: "boot-1" };

function started() {
  const history = new History(new Timeline(), {
    registryKey: () => new Uint8Array(32),
    hostNamed: (hostId) => hostId,
  });
  const tick = (session: typeof a | undefined, major: bigint, number: bigint) =>
    history.ticked(session?.hostId ?? "nobody", session, {
      agentId: "agent",
      outcome: "normal",
      era: 0n,
      major,
      tick: number,
      elapsedNs: 1n,
    });
  /** Of what came after the first ticks, which nobody was granted here. */
  const found = () => history.violations.filter(({ rule }) => rule !== "I2").map(({ rule }) => rule);
  return { history, tick, found };
}

describe("the history", () => {
  test("ticks in a row under one session are well", () => {
    const { tick, found } = started();
    for (const number of [1n, 2n, 3n]) tick(a, 0n, number);
    expect(found()).toEqual([]);
  });

  test("I1: two sessions under one term", () => {
    const { tick, found } = started();
    tick(a, 0n, 1n);
    tick(b, 0n, 2n);
    expect(found()).toEqual(["I1"]);
  });

  test("I1: a tick under an older term, after a newer one has ticked", () => {
    const { tick, found } = started();
    tick(a, 0n, 1n);
    tick(b, 1n, 2n);
    tick(a, 0n, 2n);
    expect(found()).toContain("I1");
  });

  test("T-47: a tick that comes out differently when it is run again", () => {
    const { history, found } = started();
    history.replayed("host-a", { agentId: "agent", outcome: "verified", ticks: 3, elapsedNs: 1n });
    history.replayed("host-a", { agentId: "agent", outcome: "unfinished", ticks: 3, elapsedNs: 0n });
    expect([found(), history.counts.replayed]).toEqual([[], 3]);
    history.replayed("host-a", { agentId: "agent", outcome: "diverged", ticks: 1, elapsedNs: 0n });
    expect(found()).toEqual(["T-47"]);
  });

  test("I2: a term that nobody was granted", () => {
    const { history, tick } = started();
    tick(a, 4n, 1n);
    expect(history.violations.map(({ rule }) => rule)).toEqual(["I2"]);
  });

  test("I4: a tick that was left out, or done twice", () => {
    const { tick, found } = started();
    tick(a, 0n, 1n);
    tick(a, 0n, 3n);
    tick(a, 0n, 3n);
    expect(found()).toEqual(["I4", "I4"]);
  });

  test("I7: a tick under a session that is closed, or under none", () => {
    const { history, tick, found } = started();
    tick(a, 0n, 1n);
    history.closed(a);
    tick(a, 0n, 2n);
    tick(undefined, 1n, 1n);
    expect(found()).toEqual(["I7", "I7"]);
  });

  test("I3: two checkpoints of one tick", () => {
    const { history, found } = started();
    const signer = signerFromSeed(new Uint8Array(32).fill(1));
    const digest = "a".repeat(64);
    const { bytes: genesis, agentId } = createGenesis({
      creatorHostId: hostIdOf(signer.publicKey),
      moduleDigest: digest,
      manifestDigest: digest,
      incarnation: "i",
      nonce: new Uint8Array(16),
      recoveryPolicy: "latest",
      name: "agent",
    });
    const first = (budget: bigint) =>
      writeCheckpoint(
        {
          agentId,
          era: 0n,
          major: 0n,
          generation: 0n,
          tick: 0n,
          moduleDigest: digest,
          manifestDigest: digest,
          previous: undefined,
          base: undefined,
          budget,
          pricePerSecond: 1n,
          remainder: 0n,
          receipts: [],
          fundingIds: [],
          grant: undefined,
          genesis,
          origin: "created",
          rolledBackFromTick: undefined,
          writtenAtNs: 0n,
        },
        new Uint8Array(16),
        signer,
      );
    const checkpoint = first(10n);
    history.committed("host-a", { agentId, checkpoint });
    history.committed("host-b", { agentId, checkpoint });
    expect(found()).toEqual([]);
    history.committed("host-b", { agentId, checkpoint: first(11n) });
    expect(found()).toEqual(["I3"]);
  });

  test("I10: more retries than the budget has", () => {
    const { history, found } = started();
    history.retried("agent", { retries: 12, successes: 10 });
    expect(found()).toEqual([]);
    history.retried("agent", { retries: 13, successes: 10 });
    expect(found()).toEqual(["I10"]);
  });
});
