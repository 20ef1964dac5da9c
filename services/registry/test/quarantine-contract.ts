// What every RegistryStore does with marks, incarnations and quarantine (SL-2, GA-6, GA-7).

import { randomBytes, randomUUID } from "node:crypto";
import type { CheckpointRef, SessionId } from "@godwit/common/lease";
import { hostIdOf, signerFromSeed } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { signMark, statementIn } from "../src/mark/mark.ts";
import type { StoreStep } from "../src/store/admission.ts";
import type { Placement } from "../src/store/placement.ts";
import {
  MarkMismatch,
  type RecordChange,
  type RegistryStore,
  StepRefused,
  type StoredSession,
} from "../src/store/registry-store.ts";
import { layGround, type StoreKind } from "./fixtures/stores.ts";

const signer = signerFromSeed(new Uint8Array(32).fill(3));
const rules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };
const otherRules = { durationMs: 600_000, graceMs: 5_000, renewEveryMs: 9_000 };
const secretDigest = new Uint8Array(32).fill(7);
const nowhere: Placement = { ownerHostId: undefined, offeredWhenClosed: undefined, offeredNow: false };
const bytes = (text: string) => new TextEncoder().encode(text);
const newAgentId = () => randomBytes(32).toString("hex");
const newSession = (): SessionId => ({
  hostId: hostIdOf(signerFromSeed(new Uint8Array(randomBytes(32))).publicKey),
  bootId: randomUUID(),
});
const checkpoint = (tick: bigint): CheckpointRef => ({ era: 0n, major: 0n, tick, digest: "a".repeat(64) });

const change = (agentId: string, changes: Partial<RecordChange> = {}): RecordChange => ({
  agentId,
  before: undefined,
  after: bytes("first"),
  placement: { before: nowhere, after: nowhere },
  history: undefined,
  holdersSeen: undefined,
  ...changes,
});

async function world(kind: StoreKind) {
  const ground = await layGround(kind);
  const store = ground.store();
  await store.start();
  const { identity } = await store.readMark();
  const mark = (incarnation: string, counter: bigint, quarantine: boolean) =>
    signMark({ incarnation, counter, quarantine, storeIdentity: identity }, signer).bytes;
  const first = mark("i-1", 0n, false);
  expect(await store.replaceMark(undefined, first)).toBe(true);
  const second = mark("i-2", 5n, true);
  return {
    ground,
    store,
    mark,
    first,
    /** In quarantine. */
    second,
    ended: mark("i-2", 5n, false),
    forget: async () => expect(await store.replaceMark(first, second)).toBe(true),
    opened: async (under = first) => {
      const session = newSession();
      expect(await store.openSession(under, stored(session, statementIn(under).incarnation), 1)).toBe("opened");
      return session;
    },
    reassert: (under: Uint8Array, session: SessionId, generation: bigint, given = rules) =>
      store.reassertSession(under, {
        ...session,
        incarnation: statementIn(under).incarnation,
        generation,
        rules: given,
        secretDigest: new Uint8Array(32).fill(9),
        seenAtMs: 2,
      }),
    async [Symbol.asyncDispose]() {
      await store.stop();
      await ground[Symbol.asyncDispose]();
    },
  };
}

function stored(session: SessionId, incarnation: string): StoredSession {
  return { ...session, incarnation, generation: 0n, rules, closed: false, secretDigest };
}

/** Every step that a store has, once. */
function everyStep(store: RegistryStore, mark: Uint8Array, session: SessionId, agentId: string) {
  const { incarnation } = statementIn(mark);
  const page = { after: undefined, limit: 1 };
  const steps: Readonly<Record<StoreStep, () => Promise<unknown>>> = {
    openSession: () => store.openSession(mark, stored(newSession(), incarnation), 0),
    renewSession: () =>
      store.renewSession(mark, { ...session, incarnation, secretDigest, generation: 0n, seenAtMs: 0 }),
    closeSession: () => store.closeSession(mark, { session: newSession(), generation: undefined, caller: undefined }),
    reassertSession: () =>
      store.reassertSession(mark, { ...newSession(), incarnation, generation: 0n, rules, secretDigest, seenAtMs: 0 }),
    readSessions: () => store.readSessions(mark, [session]),
    readOpenSessions: () => store.readOpenSessions(mark),
    readAgents: () => store.readAgents(mark, { agentIds: [agentId], withHolders: true }),
    apply: () => store.apply(mark, session, [change(agentId)]),
    applyReasserted: () => store.applyReasserted(mark, session, [change(agentId)]),
    announce: () => store.announce(mark, session, { held: [], withdrawn: [agentId] }),
    findAgents: () => store.findAgents(mark, page),
    readHistory: () => store.readHistory(mark, agentId),
    findAgentsToOffer: () => store.findAgentsToOffer(mark, page),
    findAgentsOfSession: () => store.findAgentsOfSession(mark, session, page),
    putHost: () => store.putHost(mark, session, { info: bytes("info"), seenAtMs: 0 }),
    readHosts: () => store.readHosts(mark, 0),
    readHostsSeen: () => store.readHostsSeen(mark, [session.hostId]),
    setDraining: () => store.setDraining(mark, session.hostId, true),
    countOutcome: () =>
      store.countOutcome(mark, session, { hostId: session.hostId, failed: true, atMs: 0, forgetAfterMs: 1 }),
  };
  return steps;
}

const SESSION_COMMANDS: readonly string[] = [
  "openSession",
  "renewSession",
  "closeSession",
  "reassertSession",
  "announce",
  // and what these read and write
  "readSessions",
  "readOpenSessions",
  "readAgents",
  "applyReasserted",
];

export function describeQuarantineContract(kind: StoreKind): void {
  describe(`RegistryStore contract, quarantine: ${kind}`, () => {
    test("GA-6: the mark is replaced by compare-and-set: of many that try at once, one does", async () => {
      await using it = await world(kind);
      const wishes = Array.from({ length: 16 }, (_, n) => it.mark(`i-${n + 10}`, 5n, true));
      const won = await Promise.all(wishes.map((after) => it.store.replaceMark(it.first, after)));
      expect(won.filter(Boolean)).toHaveLength(1);
      expect((await it.store.readMark()).mark).toEqual(wishes[won.indexOf(true)]);
      expect(await it.store.replaceMark(undefined, it.second)).toBe(false);
    });

    test("GA-6: a mark for another store is not written", async () => {
      await using it = await world(kind);
      const elsewhere = signMark({ ...statementIn(it.second), storeIdentity: "another" }, signer).bytes;
      expect(await it.store.replaceMark(it.first, elsewhere)).toBe(false);
      expect((await it.store.readMark()).mark).toEqual(it.first);
    });

    test("GA-6: in quarantine only the session commands are served, and nothing else does anything", async () => {
      await using it = await world(kind);
      await it.forget();
      const session = await it.opened(it.second);
      const agentId = newAgentId();
      for (const [name, step] of Object.entries(everyStep(it.store, it.second, session, agentId))) {
        if (SESSION_COMMANDS.includes(name)) await step();
        else await expect(step(), name).rejects.toBeInstanceOf(StepRefused);
      }
      expect(await it.store.replaceMark(it.second, it.ended)).toBe(true);
      expect((await it.store.readHosts(it.ended, 0)).hosts).toEqual([]);
      // What was reasserted is there, and was not written a second time by `apply`.
      expect(await it.store.apply(it.ended, session, [change(agentId)])).toEqual(["record-changed"]);
    });

    test("GA-7: out of quarantine nothing is reasserted", async () => {
      await using it = await world(kind);
      const session = await it.opened();
      const steps = everyStep(it.store, it.first, session, newAgentId());
      await expect(steps.reassertSession()).rejects.toBeInstanceOf(StepRefused);
      await expect(steps.applyReasserted()).rejects.toBeInstanceOf(StepRefused);
    });

    test("GA-6: every step compares the incarnation, in quarantine as well", async () => {
      await using it = await world(kind);
      const session = await it.opened();
      await it.forget();
      const agentId = newAgentId();
      const stale = it.mark("i-1", 0n, true);
      for (const under of [it.first, stale, it.ended, it.mark("i-3", 5n, true)]) {
        for (const [name, step] of Object.entries(everyStep(it.store, under, session, agentId))) {
          await expect(step(), name).rejects.toSatisfy(
            (error) => error instanceof MarkMismatch || error instanceof StepRefused,
          );
        }
      }
      expect((await it.store.readAgents(it.second, { agentIds: [agentId], withHolders: false })).agents).toEqual([
        { record: undefined, holders: [] },
      ]);
      expect(await it.store.readOpenSessions(it.second)).toEqual([]);
    });

    test("SL-2: a new incarnation knows no session: none is open, none renews, acts or counts", async () => {
      await using it = await world(kind);
      const session = await it.opened();
      const agentId = newAgentId();
      await it.store.announce(it.first, session, { held: [{ agentId, checkpoint: checkpoint(4n) }], withdrawn: [] });
      await it.store.putHost(it.first, session, { info: bytes("info"), seenAtMs: 0 });
      await it.forget();
      expect(await it.store.readOpenSessions(it.second)).toEqual([]);
      expect((await it.store.readSessions(it.second, [session]))[0]?.incarnation).toBe("i-1");
      const renewal = { ...session, incarnation: "i-2", secretDigest, generation: 0n, seenAtMs: 0 };
      expect(await it.store.renewSession(it.second, renewal)).toEqual({ kind: "unknown" });
      const held = { held: [{ agentId, checkpoint: checkpoint(5n) }], withdrawn: [] };
      expect(await it.store.announce(it.second, session, held)).toBe("caller-void");
      expect(await it.store.applyReasserted(it.second, session, [change(agentId)])).toEqual(["caller-void"]);
      const { agents } = await it.store.readAgents(it.second, { agentIds: [agentId], withHolders: true });
      expect(agents).toEqual([{ record: undefined, holders: [] }]);

      expect(await it.store.replaceMark(it.second, it.ended)).toBe(true);
      expect(await it.store.apply(it.ended, session, [change(agentId)])).toEqual(["caller-void"]);
      expect(await it.store.putHost(it.ended, session, { info: bytes("x"), seenAtMs: 0 })).toBe("caller-void");
      const report = { hostId: session.hostId, failed: true, atMs: 0, forgetAfterMs: 1 };
      expect(await it.store.countOutcome(it.ended, session, report)).toEqual({ kind: "caller-void" });
      const other = await it.opened(it.ended);
      const closing = { session: other, generation: undefined, caller: session };
      expect(await it.store.closeSession(it.ended, closing)).toBe("caller-void");
      expect((await it.store.readHosts(it.ended, 0)).hosts.map(({ live }) => live)).toEqual([false]);
    });

    test("GA-6: the end of quarantine ends no session", async () => {
      await using it = await world(kind);
      await it.forget();
      const session = await it.opened(it.second);
      expect(await it.store.replaceMark(it.second, it.ended)).toBe(true);
      expect((await it.store.readOpenSessions(it.ended)).map(({ bootId }) => bootId)).toEqual([session.bootId]);
    });

    test("GA-7: a reasserted session goes on one above the larger generation, and what it announced before counts again", async () => {
      await using it = await world(kind);
      const [known, lost] = [await it.opened(), newSession()];
      const agentId = newAgentId();
      await it.store.announce(it.first, known, { held: [{ agentId, checkpoint: checkpoint(4n) }], withdrawn: [] });
      for (const generation of [0n, 1n, 2n]) {
        const renewal = { ...known, incarnation: "i-1", secretDigest, generation, seenAtMs: 0 };
        await it.store.renewSession(it.first, renewal);
      }
      await it.forget();
      expect(await it.reassert(it.second, known, 1n)).toMatchObject({ session: { generation: 4n, rules } });
      expect(await it.reassert(it.second, lost, 70n)).toEqual({
        kind: "reasserted",
        session: {
          ...lost,
          incarnation: "i-2",
          generation: 71n,
          rules,
          closed: false,
          secretDigest: new Uint8Array(32).fill(9),
        },
      });
      expect((await it.store.readOpenSessions(it.second)).map(({ bootId }) => bootId).toSorted()).toEqual(
        [known.bootId, lost.bootId].toSorted(),
      );
      const { agents } = await it.store.readAgents(it.second, { agentIds: [agentId], withHolders: true });
      expect(agents[0]?.holders).toHaveLength(1);
      const renewal = { ...lost, incarnation: "i-2", generation: 71n, seenAtMs: 0 };
      expect(await it.store.renewSession(it.second, { ...renewal, secretDigest })).toEqual({ kind: "bad-secret" });
      const secret = new Uint8Array(32).fill(9);
      expect(await it.store.renewSession(it.second, { ...renewal, secretDigest: secret })).toEqual({
        kind: "renewed",
        generation: 72n,
        rules,
      });
    });

    test("SL-5: the rules of a reasserted session are fixed when the incarnation first knows it", async () => {
      await using it = await world(kind);
      const session = await it.opened();
      await it.forget();
      expect(await it.reassert(it.second, session, 0n, otherRules)).toMatchObject({
        session: { rules: otherRules, generation: 1n },
      });
      expect(await it.reassert(it.second, session, 0n, rules)).toMatchObject({
        session: { rules: otherRules, generation: 2n },
      });
      const [open] = await it.store.readOpenSessions(it.second);
      expect(open).toMatchObject({ generation: 2n, durationMs: 600_000, graceMs: 5_000 });
    });

    test("SL-2: what was closed is not brought back, under whichever incarnation it was closed", async () => {
      await using it = await world(kind);
      const [before, now] = [await it.opened(), newSession()];
      const close = (mark: Uint8Array, session: SessionId) =>
        it.store.closeSession(mark, { session, generation: undefined, caller: undefined });
      await close(it.first, before);
      await it.forget();
      await it.reassert(it.second, now, 0n);
      expect(await close(it.second, now)).toBe("closed");
      for (const session of [before, now]) {
        expect(await it.reassert(it.second, session, 9n)).toEqual({ kind: "void" });
        expect((await it.store.readSessions(it.second, [session]))[0]?.closed).toBe(true);
      }
      expect(await it.store.readOpenSessions(it.second)).toEqual([]);
    });

    test("GA-7: a large batch is applied record by record, in order, each by compare-and-set", async () => {
      await using it = await world(kind);
      await it.forget();
      const session = await it.opened(it.second);
      const placement = {
        before: nowhere,
        after: { ownerHostId: session.hostId, offeredWhenClosed: session, offeredNow: false },
      };
      const ids = Array.from({ length: 600 }, newAgentId);
      const history = { revision: 1n, entry: bytes("entry") };
      const changes = ids.map((id) => change(id, { placement, history }));
      expect(new Set(await it.store.applyReasserted(it.second, session, changes))).toEqual(new Set(["applied"]));
      const released = { before: placement.after, after: nowhere };
      const again = ids.map((id, n) =>
        change(id, { before: bytes(n % 2 === 0 ? "first" : "x"), after: bytes("2nd"), placement: released }),
      );
      expect(await it.store.applyReasserted(it.second, session, again)).toEqual(
        ids.map((_, n) => (n % 2 === 0 ? "applied" : "record-changed")),
      );
      expect(await it.store.replaceMark(it.second, it.ended)).toBe(true);
      const found = await it.store.findAgents(it.ended, {
        ownerHostId: session.hostId,
        after: undefined,
        limit: 1_000,
      });
      expect(found).toHaveLength(300); // the second round has no owner any more
      expect(await it.store.readHistory(it.ended, ids[0] ?? "")).toHaveLength(1);
    });
  });
}
