import { create } from "@bufbuild/protobuf";
import { HostInfoSchema } from "@godwit/proto/godwit/registry/v1/directory";
import { describe, expect, test } from "vitest";
import type { HostView } from "./directory.ts";
import { selectCandidates, type Wishes } from "./select-candidates.ts";

function host(hostId: string, changes: Partial<HostView> & { price?: bigint; capabilities?: string[] } = {}): HostView {
  const { price: pricePerSecond = 10n, capabilities = ["clock", "log"], ...view } = changes;
  const info = create(HostInfoSchema, { hostId, pricePerSecond, capabilities });
  return { info, draining: false, live: true, consecutiveFailures: 0, lastSeenAtMs: 1_000, ...view };
}

const anyHost: Wishes = {
  maxPricePerSecond: undefined,
  requiredCapabilities: [],
  excludedHostIds: [],
  maxFailures: 3,
  limit: 100,
};

const select = (hosts: readonly HostView[], wishes: Partial<Wishes> = {}) =>
  selectCandidates(hosts, { ...anyHost, ...wishes }).map(({ info }) => info.hostId);

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
    const hosts = [0, 1, 3, 4].map((n) => host(`${n}`, { consecutiveFailures: n }));
    expect(select(hosts)).toEqual(["0", "1", "3"]);
    expect(select(hosts, { maxFailures: 0 })).toEqual(["0"]);
  });

  test("come cheapest known price first, then fewest failures, then most recently seen", () => {
    const hosts = [
      host("unknown", { price: 0n }),
      host("dear", { price: 20n }),
      host("failed", { consecutiveFailures: 1, lastSeenAtMs: 9_000 }),
      host("seen long ago", { lastSeenAtMs: 1 }),
      host("seen now", { lastSeenAtMs: 5_000 }),
      host("cheap", { price: 1n, consecutiveFailures: 3 }),
    ];
    expect(select(hosts)).toEqual(["cheap", "seen now", "seen long ago", "failed", "dear", "unknown"]);
    expect(select(hosts.toReversed())).toEqual(select(hosts));
  });

  test("are no more than asked for", () => {
    expect(select([host("a"), host("b"), host("c")], { limit: 2 })).toHaveLength(2);
  });
});
