// The closing of silent sessions, look by look, on both stores. Time moves only as the test says.

import { randomUUID } from "node:crypto";
import { systemEntropy } from "@godwit/common/clock";
import type { SessionId } from "@godwit/common/lease";
import { FakeClock } from "@godwit/testing";
import { Registry as MetricsRegistry } from "prom-client";
import { describe, expect, test } from "vitest";
import { MarkKeeper } from "../src/mark/mark-keeper.ts";
import { createRegistryMetrics } from "../src/metrics.ts";
import { SessionWatch } from "../src/sessions/session-watch.ts";
import { TestHost } from "./fixtures/host.ts";
import { type Ground, layGround, type StoreKind, silent, storeKinds } from "./fixtures/stores.ts";

const lookEveryMs = 500;
const rules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };

/** One replica: a store of its own, a clock of its own, and what it noticed. */
async function replica(ground: Ground, clock = new FakeClock()) {
  const store = ground.store();
  await store.start();
  const metrics = createRegistryMetrics(new MetricsRegistry());
  const keeper = new MarkKeeper(
    { store, clock, entropy: systemEntropy, metrics, logger: silent },
    { keyFile: `${ground.directory}/registry.key`, quarantineMs: 12_000 },
  );
  await keeper.check();
  const closed: SessionId[] = [];
  const watch = new SessionWatch(
    { store, keeper, clock, metrics, logger: silent, onClosed: (session) => closed.push(session) },
    { lookEveryMs },
  );
  const secretDigest = new Uint8Array(32);
  const mark = await keeper.under(async (standing) => standing.mark);
  return {
    clock,
    closed,
    watch,
    store,
    looks: async (count: number) => {
      for (let n = 0; n < count; n++) {
        await clock.advance(lookEveryMs);
        await watch.lookOnce();
      }
    },
    open: async () => {
      const session = { hostId: new TestHost().hostId, bootId: randomUUID() };
      const { incarnation } = mark;
      const stored = { ...session, incarnation, generation: 0n, rules, closed: false, secretDigest };
      await store.openSession(mark.bytes, stored, 0);
      return session;
    },
    renew: async (session: SessionId) => {
      const renewal = { ...session, incarnation: mark.incarnation, secretDigest, generation: 0n, seenAtMs: 0 };
      return (await store.renewSession(mark.bytes, renewal)).kind;
    },
  };
}

async function world(kind: StoreKind) {
  const ground = await layGround(kind);
  const first = await replica(ground);
  return {
    ...first,
    ground,
    async [Symbol.asyncDispose]() {
      await first.store.stop();
      await ground[Symbol.asyncDispose]();
    },
  };
}

describe.each(storeKinds)("the watch over sessions on the %s store", (kind) => {
  test("SL-2: a session is closed when its generation stood still for duration + grace, and not before", async () => {
    await using registry = await world(kind);
    const session = await registry.open();
    await registry.looks(24); // seen at the first look, then 23 * 500 ms
    expect([registry.closed, await registry.renew(session)]).toEqual([[], "renewed"]);
    await registry.looks(24);
    expect(registry.closed).toEqual([]);
    await registry.looks(1);
    expect([registry.closed, await registry.renew(session)]).toEqual([[session], "void"]);
  });

  test("SL-2: whoever renews in time stays open for as long as that goes on", async () => {
    await using registry = await world(kind);
    const [lively, quiet] = [await registry.open(), await registry.open()];
    for (let n = 0; n < 10; n++) {
      await registry.looks(6);
      await registry.renew(lively);
    }
    expect(registry.closed).toEqual([quiet]);
  });

  test("SL-2: a renewal between the look and the closing saves the session", async () => {
    await using registry = await world(kind);
    const session = await registry.open();
    await registry.looks(24);
    const { store } = registry;
    const closeSession = store.closeSession.bind(store);
    store.closeSession = async (mark, closing) => {
      await registry.renew(session);
      return await closeSession(mark, closing);
    };
    await registry.looks(1);
    expect(registry.closed).toEqual([]);
    expect(await registry.renew(session)).toBe("renewed");
  });

  test("SL-2: a registry that was paused closes nobody for what it slept through", async () => {
    await using registry = await world(kind);
    const sessions = [await registry.open(), await registry.open(), await registry.open()];
    await registry.looks(23);
    await registry.clock.advance(60_000);
    await registry.looks(24);
    expect(registry.closed).toEqual([]);
    for (const session of sessions) expect(await registry.renew(session)).toBe("renewed");
  });

  test("SL-2: a registry that has just started has to see the silence itself", async () => {
    await using registry = await world(kind);
    const session = await registry.open();
    await registry.looks(24);
    if (kind === "embedded") await registry.store.stop();
    const other = await replica(registry.ground);
    await other.looks(24);
    expect(other.closed).toEqual([]);
    await other.looks(1);
    expect(other.closed).toEqual([session]);
    await other.store.stop();
  });

  test("SL-2: while the store does not answer nobody is closed, and afterwards the watch begins anew", async () => {
    await using registry = await world(kind);
    const session = await registry.open();
    await registry.looks(20);
    const { store } = registry;
    const readOpenSessions = store.readOpenSessions.bind(store);
    store.readOpenSessions = () => Promise.reject(new Error("cut off"));
    for (let n = 0; n < 40; n++) {
      await registry.clock.advance(lookEveryMs);
      await expect(registry.watch.lookOnce()).rejects.toThrow("cut off");
    }
    store.readOpenSessions = readOpenSessions;
    await registry.looks(24);
    expect(registry.closed).toEqual([]);
    expect(await registry.renew(session)).toBe("renewed");
  });

  test("SL-2: a slow answer of the store makes no silence longer than it was", async () => {
    await using registry = await world(kind);
    const session = await registry.open();
    await registry.looks(23);
    const { store, clock } = registry;
    const readOpenSessions = store.readOpenSessions.bind(store);
    store.readOpenSessions = async (mark) => {
      const sessions = await readOpenSessions(mark);
      await clock.advance(1_200); // within the gap, and past the end of duration + grace
      return sessions;
    };
    await registry.watch.lookOnce();
    expect(registry.closed).toEqual([]);
    expect(await registry.renew(session)).toBe("renewed");
  });

  test("§8: a session that somebody else has closed is noticed", async () => {
    await using registry = await world(kind);
    const session = await registry.open();
    await registry.looks(1);
    const { mark } = await registry.store.readMark();
    const closing = { session, generation: undefined, caller: undefined };
    await registry.store.closeSession(mark ?? new Uint8Array(), closing);
    await registry.looks(1);
    expect(registry.closed).toEqual([session]);
    expect(registry.watch.isOpen(session)).toBe(false);
  });
});
