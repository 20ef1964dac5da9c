// What nobody brought back is offered, and taken up under a new era, when the quarantine is over (GA-9); through real gRPC.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { done, expectRefused, TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { type Ground, layGround, storeKinds } from "./fixtures/stores.ts";

const patience = { timeout: 60_000, interval: 50 };
const choices = {
  // Silence is not what this is about: only the quarantine is short.
  leaseDurationMs: 2_500,
  leaseGraceMs: 500,
  renewEveryMs: 100,
  lookEveryMs: 50,
  nextHolderAfterMs: 100,
  offerScanEveryMs: 200,
};

/** The store is another one afterwards, with all its data. */
async function mayHaveForgotten({ directory, redis }: Ground): Promise<void> {
  if (redis === undefined) await rm(join(directory, "closed-cleanly"));
  else await redis.restart();
}

describe.each(storeKinds)("after a quarantine on the %s store", (kind) => {
  test("GA-9: an agent whose owner did not come back is offered to a holder, which recovers it under the new era", async () => {
    await using ground = await layGround(kind);
    const before = await TestRegistry.start(ground, choices);
    const owner = await TestHost.open(before);
    const held = await owner.acquire(before);
    await before.stop();
    await mayHaveForgotten(ground);

    await using registry = await TestRegistry.start(ground, choices);
    expect(registry.graph.keeper.trouble()).toContain("quarantine ends by itself");
    const holder = await TestHost.open(registry);
    await holder.announce(registry, held.checkpoint.signed);
    const early = await holder.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision);
    expectRefused(early, "QUARANTINE");
    const renewing = async () => {
      // A machine that stands still for longer than the lease costs the session, not the test.
      await holder.renew(registry).catch(async () => {
        await holder.open(registry);
        await holder.announce(registry, held.checkpoint.signed);
      });
      return registry.graph.keeper.trouble();
    };
    await expect.poll(renewing, patience).toBeUndefined();

    const stopping = new AbortController();
    let offered: string | undefined;
    const listen = async () => {
      const stream = registry.authority.watchOffers(holder.named, { signal: stopping.signal, timeoutMs: 90_000 });
      for await (const { record } of stream) offered ??= record?.agentId;
    };
    let listening = false;
    await expect
      .poll(async () => {
        await renewing();
        if (!listening) {
          listening = true;
          listen().catch(() => {
            listening = false; // its session had ended: the next one listens
          });
        }
        return offered;
      }, patience)
      .toBe(held.agentId);
    stopping.abort();

    const { mark } = await registry.graph.keeper.under(async (standing) => standing);
    await renewing();
    const record = done(await holder.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision));
    expect(record).toMatchObject({ era: mark.counter, major: 0n, owner: holder.session });
    expectRefused(
      await owner.recover(registry, held.agentId, held.checkpoint.signed, record.revision),
      "STALE_INCARNATION",
    );
  });
});
