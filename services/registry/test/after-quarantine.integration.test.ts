// What nobody brought back is offered, and taken up under a new era, when the quarantine is over (GA-9); through real gRPC.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "@godwit/common/clock";
import { toProtoSigned } from "@godwit/lineage";
import type { CommandResponse } from "@godwit/proto/godwit/registry/v1/authority";
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { statementIn } from "../src/mark/mark.ts";
import { done, expectRefused, incarnationOf, nameOf, TestHost } from "./fixtures/host.ts";
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
    let answer: CommandResponse | undefined;
    await expect
      .poll(async () => {
        await renewing();
        answer = await holder.recover(registry, held.agentId, held.checkpoint.signed, held.record.revision);
        return nameOf(answer.refusal);
      }, patience)
      .toBe("UNSPECIFIED");
    if (answer === undefined) throw new Error("no answer");
    const record = done(answer);
    expect(record).toMatchObject({ era: mark.counter, major: 0n, owner: holder.session });
    expectRefused(
      await owner.recover(registry, held.agentId, held.checkpoint.signed, record.revision),
      "STALE_INCARNATION",
    );
  });
});

test("GA-6: both replicas are restarted in the middle of a quarantine, under load: one incarnation, one end, nothing else served before it", async () => {
  await using ground = await layGround("redis");
  let replicas = [await TestRegistry.start(ground, choices), await TestRegistry.start(ground, choices)];
  const stopped: TestRegistry[] = [];
  try {
    const former = await incarnationOf(at(replicas, 0));
    const incarnations = new Set<string>();
    const early: string[] = [];
    const loading = new AbortController();
    let served = 0;
    const load = async (n: number) => {
      while (!loading.signal.aborted) {
        const registry = at(replicas, n % 2);
        try {
          const host = await TestHost.open(registry);
          incarnations.add(host.incarnation);
          const conceived = host.conceive();
          const answer = await registry.authority.acquire({
            command: host.command(conceived.agentId),
            head: toProtoSigned(conceived.checkpoint.signed),
          });
          // A genesis of era 0 is refused under the new incarnation, but only once everything is served.
          const name = nameOf(answer.refusal);
          if (name !== "QUARANTINE" && host.incarnation !== former) {
            served++;
            if (await inQuarantine(registry)) early.push(name);
          }
        } catch {
          // the registry was stopped, or the store was between two marks
        }
        await systemClock.sleep(5, loading.signal).catch(() => {});
      }
    };
    const loads = [0, 1, 2, 3].map(load);
    const redis = new Redis(ground.redis?.url ?? "");
    await redis.flushall();
    redis.disconnect();
    await expect
      .poll(() => replicas.map(({ graph }) => graph.keeper.trouble() === undefined), patience)
      .toEqual([false, false]);
    const noticed = await incarnationOf(at(replicas, 0));
    for (const n of [0, 1]) {
      const again = await TestRegistry.start(ground, choices);
      stopped.push(at(replicas, n));
      replicas = replicas.with(n, again);
      await at(stopped, n).stop();
    }
    await expect
      .poll(() => replicas.map(({ graph }) => graph.keeper.trouble()), patience)
      .toEqual([undefined, undefined]);
    await expect.poll(() => served, patience).toBeGreaterThan(10);
    loading.abort();
    await Promise.all(loads);
    expect(early).toEqual([]);
    expect([await incarnationOf(at(replicas, 0)), await incarnationOf(at(replicas, 1))]).toEqual([noticed, noticed]);
    incarnations.delete(former);
    expect([...incarnations]).toEqual([noticed]);
  } finally {
    for (const registry of replicas) await registry.stop();
  }
});

function at(replicas: readonly TestRegistry[], n: number): TestRegistry {
  const registry = replicas[n];
  if (registry === undefined) throw new Error(`there is no replica ${n}`);
  return registry;
}

async function inQuarantine({ graph }: TestRegistry): Promise<boolean> {
  const { mark } = await graph.store.readMark();
  return mark === undefined || statementIn(mark).quarantine;
}
