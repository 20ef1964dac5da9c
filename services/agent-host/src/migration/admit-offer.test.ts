import { failureOf } from "@godwit/common/retry";
import type { OfferFrame } from "@godwit/migration";
import { describe, expect, test } from "vitest";
import { admitOffer } from "./admit-offer.ts";
import type { HostFacts } from "./ports.ts";

const facts: HostFacts = {
  hostId: "h",
  pricePerSecond: 500n,
  capabilities: ["clock", "log"],
  maxMemoryBytes: 1_000_000,
  maxModuleBytes: 2_000,
  maxStateBytes: 3_000,
  notNow: undefined,
  verifiesReplays: false,
  registryKey: new Uint8Array(32),
};

const offerOf = (manifest: unknown, changes: Partial<OfferFrame> = {}): OfferFrame => ({
  kind: "offer",
  handoffId: "h1",
  agentId: "a".repeat(64),
  name: "",
  era: 0n,
  major: 0n,
  tick: 1n,
  stateBytes: 10,
  budget: 1n,
  manifest: new TextEncoder().encode(typeof manifest === "string" ? manifest : JSON.stringify(manifest)),
  moduleDigest: "b".repeat(64),
  moduleBytes: 10,
  ...changes,
});

const declares = (...names: readonly string[]) => ({
  capabilities: Object.fromEntries(names.map((name) => [name, { version: 1 }])),
});

function refusal(offer: OfferFrame, host: Partial<HostFacts> = {}): string {
  try {
    admitOffer(offer, { ...facts, ...host });
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    return `${failure.class} ${failure.fault.code}`;
  }
  return "admitted";
}

describe("GH-2: an offer is refused with the class that the source has to act on", () => {
  test("what fits is admitted: the price may be the limit itself, and no limit is any price", () => {
    const limit = (price: number) => ({
      ...declares("clock"),
      migration_policy: { enabled: true, max_price_per_second: price },
    });
    expect(refusal(offerOf(limit(500)))).toBe("admitted");
    expect(refusal(offerOf(limit(499)))).toBe("fatal-target PRICE_TOO_HIGH");
    expect(refusal(offerOf(limit(0)), { pricePerSecond: 10n ** 12n })).toBe("admitted");
    expect(refusal(offerOf(""))).toBe("admitted");
  });

  test.each<[string, OfferFrame, Partial<HostFacts>]>([
    ["retriable SHUTTING_DOWN", offerOf({}), { notNow: "stopping" }],
    ["retriable SESSION_NOT_OPEN", offerOf({}), { notNow: "no-session" }],
    ["retriable SESSION_NOT_OPEN", offerOf({}), { registryKey: undefined }],
    ["fatal-target HOST_DRAINING", offerOf({}), { notNow: "draining" }],
    ["fatal-target MANIFEST_INVALID", offerOf("{"), {}],
    ["fatal-migration MIGRATION_DISABLED", offerOf({ migration_policy: { enabled: false } }), {}],
    ["fatal-migration MIGRATION_DISABLED", offerOf({ migration_policy: {} }), {}],
    ["fatal-target CAPABILITY_MISSING", offerOf(declares("clock", "wallet")), {}],
    ["fatal-target MEMORY_TOO_LARGE", offerOf({ resource_limits: { max_memory_bytes: 1_000_001 } }), {}],
    ["fatal-target RESOURCE_LIMIT", offerOf({}, { moduleBytes: 2_001 }), {}],
    ["fatal-target RESOURCE_LIMIT", offerOf({}, { stateBytes: 3_001 }), {}],
  ])("%s", (expected, offer, host) => {
    expect(refusal(offer, host)).toBe(expected);
  });
});
