import { create } from "@bufbuild/protobuf";
import { HostInfoSchema } from "@godwit/proto/godwit/registry/v1/directory";
import { describe, expect, test } from "vitest";
import type { KnownHost } from "./known-hosts.ts";
import { bestOf, MAX_SHORTLIST, shortlist, type Wishes } from "./select-candidates.ts";

type Host = KnownHost & { readonly lastSeenAtMs: number };

function host(hostId: string, changes: Partial<Host> & { price?: bigint; capabilities?: string[] } = {}): Host {
  const { price: pricePerSecond = 10n, capabilities = ["clock", "log"], ...of } = changes;
  const info = create(HostInfoSchema, { hostId, pricePerSecond, capabilities });
  const well = { draining: false, live: true, failures: 0, lastFailureAtMs: 0, version: 1, lastSeenAtMs: 1_000 };
  return { hostId, info, ...well, ...of };
}

const anyHost: Wishes = {
  maxPricePerSecond: undefined,
  requiredCapabilities: [],
  excludedHostIds: [],
  maxFailures: 3,
  limit: 100,
};

const dearness = ({ info: { pricePerSecond: price } }: Host) =>
  price === 0n ? Number.POSITIVE_INFINITY : Number(price);

function select(hosts: readonly Host[], wishes: Partial<Wishes> = {}, turn = 0): readonly string[] {
  const all = { ...anyHost, ...wishes };
  const byPrice = hosts.toSorted((a, b) => (dearness(a) === dearness(b) ? 0 : dearness(a) - dearness(b)));
  const found = shortlist(byPrice, all, { turn, failuresOf: ({ failures }) => failures });
  const seen = new Map(hosts.map(({ hostId, lastSeenAtMs }) => [hostId, lastSeenAtMs]));
  const views = found.map((known) => ({
    ...known,
    consecutiveFailures: known.failures,
    lastSeenAtMs: seen.get(known.hostId) ?? 0,
  }));
  return bestOf(views, all.limit).map(({ info }) => info.hostId);
}

describe("GH-7: candidates", () => {
  test("cost at most the agent's maximum; an unknown price is within it", () => {
    const hosts = [host("ten"), host("eleven", { price: 11n }), host("unknown", { price: 0n })];
    expect(select(hosts, { maxPricePerSecond: 10n })).toEqual(["ten", "unknown"]);
    expect(select(hosts, { maxPricePerSecond: 9n })).toEqual(["unknown"]);
  });

  test("have all of the agent's capabilities", () => {
    const hosts = [host("both"), host("one", { capabilities: ["clock"] }), host("none", { capabilities: [] })];
    expect(select(hosts, { requiredCapabilities: ["log", "clock"] })).toEqual(["both"]);
    expect(select(hosts, { requiredCapabilities: ["http"] })).toEqual([]);
  });

  test("are not excluded, not draining, and have a live session", () => {
    const hosts = [host("a"), host("b"), host("c", { draining: true }), host("d", { live: false })];
    expect(select(hosts, { excludedHostIds: ["a", "elsewhere"] })).toEqual(["b"]);
  });

  test("have at most max_failures failures in a row", () => {
    const hosts = [0, 1, 3, 4].map((n) => host(`${n}`, { failures: n }));
    expect(select(hosts)).toEqual(["0", "1", "3"]);
    expect(select(hosts, { maxFailures: 0 })).toEqual(["0"]);
  });

  test("come cheapest known price first, then fewest failures, then most recently seen", () => {
    const hosts = [
      host("unknown", { price: 0n }),
      host("dear", { price: 20n }),
      host("failed", { failures: 1, lastSeenAtMs: 9_000 }),
      host("seen long ago", { lastSeenAtMs: 1 }),
      host("seen now", { lastSeenAtMs: 5_000 }),
      host("cheap", { price: 1n, failures: 3 }),
    ];
    expect(select(hosts)).toEqual(["cheap", "seen now", "seen long ago", "failed", "dear", "unknown"]);
    expect(select(hosts.toReversed())).toEqual(select(hosts));
  });

  test("are no more than asked for", () => {
    expect(select([host("a"), host("b"), host("c")], { limit: 2 })).toHaveLength(2);
  });

  test("that tie are compared by when they were seen, also beyond the limit", () => {
    const hosts = Array.from({ length: 200 }, (_, n) => host(`h${n}`, { lastSeenAtMs: n }));
    expect(select(hosts, { limit: 2 })).toEqual(["h199", "h198"]);
  });

  test("that tie in great numbers take turns in being compared", () => {
    const hosts = Array.from({ length: 3 * MAX_SHORTLIST }, (_, n) => host(`h${n}`, { lastSeenAtMs: n }));
    const ofTurn = (turn: number) => select(hosts, { limit: 1 }, turn);
    expect(ofTurn(0)).toEqual([`h${MAX_SHORTLIST - 1}`]);
    expect(ofTurn(MAX_SHORTLIST)).toEqual([`h${2 * MAX_SHORTLIST - 1}`]);
    expect(ofTurn(3 * MAX_SHORTLIST - 1)[0]).toBe(`h${3 * MAX_SHORTLIST - 1}`);
  });

  test("are the same as when all hosts are put in order", () => {
    const random = sequence(7);
    for (let round = 0; round < 200; round++) {
      const hosts = Array.from({ length: 1 + random(60) }, (_, n) =>
        host(`h${n}`, {
          price: BigInt(random(4)),
          failures: random(5),
          live: random(5) > 0,
          draining: random(6) === 0,
          lastSeenAtMs: random(10),
          capabilities: random(3) === 0 ? ["clock"] : ["clock", "log"],
        }),
      );
      const wishes = { ...anyHost, maxPricePerSecond: 2n, requiredCapabilities: ["log"], limit: 1 + random(20) };
      const expected = hosts
        .filter(({ live, draining, failures }) => live && !draining && failures <= wishes.maxFailures)
        .filter(({ info }) => info.pricePerSecond <= 2n && info.capabilities.includes("log"))
        .map((each) => ({ ...each, consecutiveFailures: each.failures }));
      const all = bestOf(expected, wishes.limit).map(({ info }) => info.hostId);
      expect(select(hosts, wishes, random(100))).toEqual(all);
    }
  });
});

/** Numbers below a bound, the same in every run. */
function sequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
