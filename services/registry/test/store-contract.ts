// What every RegistryStore has to do, named by the rule that it keeps.

import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import type { CheckpointRef, SessionId } from "@godwit/common/lease";
import { hostIdOf, signerFromSeed } from "@godwit/lineage";
import { HostInfoSchema } from "@godwit/proto/godwit/registry/v1/directory";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { KnownHosts } from "../src/directory/known-hosts.ts";
import { newMark, signMark, statementIn } from "../src/mark/mark.ts";
import type { Placement } from "../src/store/placement.ts";
import {
  MAX_HISTORY,
  MAX_HOLDERS,
  MAX_HOST_CHANGES,
  MarkMismatch,
  type RecordChange,
  type RegistryStore,
  type StoredSession,
} from "../src/store/registry-store.ts";
import { type Ground, layGround, type StoreKind } from "./fixtures/stores.ts";

const incarnation = "i-1";
const rules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };
const secretDigest = new Uint8Array(32).fill(7);
const nowhere: Placement = { ownerHostId: undefined, offeredWhenClosed: undefined, offeredNow: false };

const signer = signerFromSeed(new Uint8Array(32).fill(3));
const newHostId = () => hostIdOf(signerFromSeed(new Uint8Array(randomBytes(32))).publicKey);
const newAgentId = () => randomBytes(32).toString("hex");
const bytes = (text: string) => new TextEncoder().encode(text);
const info = (name: string) => toBinary(HostInfoSchema, create(HostInfoSchema, { name }));
const text = (stored: Uint8Array | undefined) => stored && new TextDecoder().decode(stored);

function checkpoint(tick: bigint, major = 0n): CheckpointRef {
  return { era: 0n, major, tick, digest: "a".repeat(64) };
}

export function describeStoreContract(kind: StoreKind): void {
  describe(`RegistryStore contract: ${kind}`, () => {
    let ground: Ground;
    let store: RegistryStore;
    let mark: Uint8Array;

    beforeAll(async () => {
      ground = await layGround(kind);
      store = ground.store();
      await store.start();
      const { identity } = await store.readMark();
      mark = newMark({ incarnation, storeIdentity: identity }, signer).bytes;
      expect(await store.replaceMark(undefined, mark)).toBe(true);
    });
    afterAll(async () => {
      try {
        await store.stop();
      } finally {
        await ground[Symbol.asyncDispose](); // also when it did not start
      }
    });

    const opened = async (hostId = newHostId()): Promise<SessionId> => {
      const session = { hostId, bootId: randomUUID() };
      expect(await store.openSession(mark, stored(session), 1_000)).toBe("opened");
      return session;
    };
    const stored = (session: SessionId): StoredSession => ({
      ...session,
      incarnation,
      generation: 0n,
      rules,
      closed: false,
      secretDigest,
    });
    const renewal = (session: SessionId, generation: bigint) => ({
      ...session,
      incarnation,
      secretDigest,
      generation,
      seenAtMs: 2_000,
    });
    const close = (session: SessionId) =>
      store.closeSession(mark, { session, generation: undefined, caller: undefined });
    const change = (agentId: string, changes: Partial<RecordChange>): RecordChange => ({
      agentId,
      before: undefined,
      after: bytes("first"),
      placement: { before: nowhere, after: nowhere },
      history: undefined,
      holdersSeen: undefined,
      ...changes,
    });
    const ownedBy = (session: SessionId): Placement => ({
      ownerHostId: session.hostId,
      offeredWhenClosed: session,
      offeredNow: false,
    });
    const read = async (agentId: string) => {
      const { agents } = await store.readAgents(mark, { agentIds: [agentId], withHolders: true });
      return { record: text(agents[0]?.record), holders: agents[0]?.holders ?? [] };
    };
    /** Puts a record there, owned by a session. */
    const put = async (agentId: string, owner: SessionId, placement = ownedBy(owner)) => {
      const outcome = await store.apply(mark, owner, [
        change(agentId, { placement: { before: nowhere, after: placement } }),
      ]);
      expect(outcome).toEqual(["applied"]);
    };

    describe("mark", () => {
      test("the mark is made once, whoever tries again", async () => {
        const another = signMark({ ...statementIn(mark), counter: 7n }, signer).bytes;
        expect(await store.replaceMark(undefined, another)).toBe(false);
        expect((await store.readMark()).mark).toEqual(mark);
      });

      test("GA-6: every step names the mark, and does nothing under another one", async () => {
        const wrong = signMark({ ...statementIn(mark), counter: 7n }, signer).bytes;
        const session = await opened();
        const agentId = newAgentId();
        const steps: (() => Promise<unknown>)[] = [
          () => store.openSession(wrong, stored({ hostId: session.hostId, bootId: "other" }), 0),
          () => store.renewSession(wrong, renewal(session, 0n)),
          () => store.closeSession(wrong, { session, generation: undefined, caller: undefined }),
          () => store.readSessions(wrong, [session]),
          () => store.readOpenSessions(wrong),
          () => store.readAgents(wrong, { agentIds: [agentId], withHolders: true }),
          () => store.apply(wrong, session, [change(agentId, {})]),
          () => store.apply(wrong, session, [change(agentId, {}), change(newAgentId(), {})]),
          () => store.announce(wrong, session, { held: [{ agentId, checkpoint: checkpoint(1n) }], withdrawn: [] }),
          () => store.findAgents(wrong, { after: undefined, limit: 1 }),
          () => store.readHistory(wrong, agentId),
          () => store.findAgentsToOffer(wrong, { after: undefined, limit: 1 }),
          () => store.findAgentsOfSession(wrong, session, { after: undefined, limit: 1 }),
          () => store.putHost(wrong, session, { info: info("info"), seenAtMs: 0 }),
          () => store.readHosts(wrong, 0),
          () => store.readHostsSeen(wrong, [session.hostId]),
          () => store.setDraining(wrong, session.hostId, true),
          () => store.countOutcome(wrong, session, { hostId: session.hostId, failed: true, atMs: 0, forgetAfterMs: 1 }),
        ];
        for (const step of steps) await expect(step()).rejects.toBeInstanceOf(MarkMismatch);
        expect((await store.readSessions(mark, [session]))[0]).toMatchObject({ generation: 0n, closed: false });
        expect(await read(agentId)).toEqual({ record: undefined, holders: [] });
        expect((await store.readHosts(mark, 0)).hosts.map(({ hostId }) => hostId)).not.toContain(session.hostId);
      });
    });

    describe("sessions", () => {
      test("SL-1: a session begins at generation 0, and a boot id is never used twice", async () => {
        const session = await opened();
        expect(await store.openSession(mark, stored(session), 0)).toBe("exists");
        await close(session);
        expect(await store.openSession(mark, stored(session), 0)).toBe("exists");
        expect(await store.readSessions(mark, [session, { ...session, bootId: "never" }])).toEqual([
          { ...stored(session), closed: true },
          undefined,
        ]);
      });

      test("SL-1: each renewal adds one", async () => {
        const session = await opened();
        expect(await store.renewSession(mark, renewal(session, 0n))).toEqual({
          kind: "renewed",
          generation: 1n,
          rules,
        });
        // An answer was lost, and the host names the generation before: it is renewed all the same.
        expect(await store.renewSession(mark, renewal(session, 0n))).toEqual({
          kind: "renewed",
          generation: 2n,
          rules,
        });
        expect((await store.readSessions(mark, [session]))[0]?.generation).toBe(2n);
      });

      test("SL-1: what is unknown, closed, of another secret or incarnation is not renewed", async () => {
        const session = await opened();
        const other = { ...session, bootId: randomUUID() };
        expect(await store.renewSession(mark, renewal(other, 0n))).toEqual({ kind: "unknown" });
        expect(await store.renewSession(mark, { ...renewal(session, 0n), incarnation: "i-2" })).toEqual({
          kind: "unknown",
        });
        const wrong = { ...renewal(session, 0n), secretDigest: new Uint8Array(32).fill(8) };
        expect(await store.renewSession(mark, wrong)).toEqual({ kind: "bad-secret" });
        await close(session);
        expect(await store.renewSession(mark, renewal(session, 0n))).toEqual({ kind: "void" });
        expect((await store.readSessions(mark, [session]))[0]?.generation).toBe(0n);
      });

      test("GA-6: a renewal that names a generation above the stored one shows that the store forgot", async () => {
        const session = await opened();
        expect(await store.renewSession(mark, renewal(session, 1n))).toEqual({ kind: "forgot", generation: 0n });
      });

      test("SL-2: a closing that saw an older generation does not close", async () => {
        const session = await opened();
        await store.renewSession(mark, renewal(session, 0n));
        expect(await store.closeSession(mark, { session, generation: 0n, caller: undefined })).toBe("moved");
        expect((await store.readSessions(mark, [session]))[0]?.closed).toBe(false);
        expect(await store.closeSession(mark, { session, generation: 1n, caller: undefined })).toBe("closed");
      });

      test("SL-2: closed is for ever, and stays known", async () => {
        const session = await opened();
        expect(await close(session)).toBe("closed");
        expect(await close(session)).toBe("closed-before");
        expect((await store.readSessions(mark, [session]))[0]?.closed).toBe(true);
        const never = { ...session, bootId: "never" };
        expect(await close(never)).toBe("unknown");
      });

      test("GA-5: a caller whose own session is closed closes nothing", async () => {
        const session = await opened();
        const caller = await opened(session.hostId);
        await close(caller);
        expect(await store.closeSession(mark, { session, generation: undefined, caller })).toBe("caller-void");
        expect((await store.readSessions(mark, [session]))[0]?.closed).toBe(false);
      });

      test("SL-2: one look shows all open sessions with their generations", async () => {
        const [a, b, gone] = [await opened(), await opened(), await opened()];
        await store.renewSession(mark, renewal(b, 0n));
        await close(gone);
        const seen = new Map((await store.readOpenSessions(mark)).map((session) => [session.bootId, session]));
        expect(seen.get(a.bootId)).toEqual({ ...a, generation: 0n, durationMs: 10_000, graceMs: 2_000 });
        expect(seen.get(b.bootId)?.generation).toBe(1n);
        expect(seen.has(gone.bootId)).toBe(false);
      });
    });

    describe("records", () => {
      let owner: SessionId;
      beforeEach(async () => {
        owner = await opened();
      });

      test("§4: a record is changed only as it was read", async () => {
        const agentId = newAgentId();
        await put(agentId, owner);
        expect(await store.apply(mark, owner, [change(agentId, { after: bytes("again") })])).toEqual([
          "record-changed",
        ]);
        const stale = change(agentId, { before: bytes("other"), after: bytes("second") });
        expect(await store.apply(mark, owner, [stale])).toEqual(["record-changed"]);
        const right = change(agentId, { before: bytes("first"), after: bytes("second") });
        expect(await store.apply(mark, owner, [right])).toEqual(["applied"]);
        expect((await read(agentId)).record).toBe("second");
      });

      test("§4: bytes that are no text are kept and compared as they are", async () => {
        const agentId = newAgentId();
        const before = new Uint8Array([0, 1, 2, 0xff, 0xfe, 0x0a, 0x0d, 0xc3, 0x28]);
        const after = new Uint8Array([0xff, 0, 0, 0x80]);
        expect(await store.apply(mark, owner, [change(agentId, { after: before })])).toEqual(["applied"]);
        expect(await store.apply(mark, owner, [change(agentId, { before, after })])).toEqual(["applied"]);
        const { agents } = await store.readAgents(mark, { agentIds: [agentId], withHolders: false });
        expect(agents[0]?.record).toEqual(after);
      });

      test("§4: an operator's command needs no session, and is compared like every other", async () => {
        const agentId = newAgentId();
        await close(owner);
        expect(await store.apply(mark, undefined, [change(agentId, {})])).toEqual(["applied"]);
        expect(await store.apply(mark, undefined, [change(agentId, {})])).toEqual(["record-changed"]);
      });

      test("§4: a closed session changes nothing", async () => {
        const agentId = newAgentId();
        await close(owner);
        expect(await store.apply(mark, owner, [change(agentId, {})])).toEqual(["caller-void"]);
        const never = { ...owner, bootId: "never" };
        expect(await store.apply(mark, never, [change(agentId, {})])).toEqual(["caller-void"]);
        expect((await read(agentId)).record).toBeUndefined();
      });

      test("§4: of many that change one record at once, one does", async () => {
        const agentId = newAgentId();
        await put(agentId, owner);
        const attempts = Array.from({ length: 32 }, (_, n) =>
          store.apply(mark, owner, [change(agentId, { before: bytes("first"), after: bytes(`by ${n}`) })]),
        );
        const outcomes = (await Promise.all(attempts)).flat();
        expect(outcomes.filter((outcome) => outcome === "applied")).toHaveLength(1);
        expect((await read(agentId)).record).toBe(`by ${outcomes.indexOf("applied")}`);
      });

      test("§4: the changes of a batch do not depend on each other, and come in order", async () => {
        const [a, b] = [newAgentId(), newAgentId()];
        const outcomes = await store.apply(mark, owner, [
          change(a, {}),
          change(b, { before: bytes("never"), after: bytes("x") }),
          change(a, { before: bytes("first"), after: bytes("second") }),
          change(a, { before: bytes("first"), after: bytes("third") }),
        ]);
        expect(outcomes).toEqual(["applied", "record-changed", "applied", "record-changed"]);
        expect([(await read(a)).record, (await read(b)).record]).toEqual(["second", undefined]);
      });

      test("one read gives the caller and all records, in the order asked", async () => {
        const [a, b, never] = [newAgentId(), newAgentId(), newAgentId()];
        await put(a, owner);
        await store.apply(mark, owner, [change(b, { after: bytes("b") })]);
        const found = await store.readAgents(mark, { caller: owner, agentIds: [b, never, a], withHolders: false });
        expect(found.caller).toEqual(stored(owner));
        expect(found.agents.map(({ record }) => text(record))).toEqual(["b", undefined, "first"]);
        expect(await store.readAgents(mark, { agentIds: [], withHolders: true })).toEqual({
          caller: undefined,
          agents: [],
        });
      });

      test("§11: the newest 256 entries of an agent's history stay, newest first", async () => {
        const agentId = newAgentId();
        await put(agentId, owner);
        const entries = Array.from({ length: MAX_HISTORY + 5 }, (_, n) => n + 1);
        for (const n of entries) {
          const history = { revision: BigInt(n), entry: bytes(`entry ${n}`) };
          const before = bytes(n === 1 ? "first" : `record ${n - 1}`);
          await store.apply(mark, owner, [change(agentId, { before, after: bytes(`record ${n}`), history })]);
        }
        const kept = (await store.readHistory(mark, agentId)).map(text);
        expect(kept).toHaveLength(MAX_HISTORY);
        expect([kept[0], kept.at(-1)]).toEqual([`entry ${MAX_HISTORY + 5}`, "entry 6"]);
        expect(await store.readHistory(mark, newAgentId())).toEqual([]);
      });
    });

    describe("finding agents", () => {
      test("agents are found by prefix and in pages, also those of one host", async () => {
        const owner = await opened();
        const prefix = randomBytes(4).toString("hex");
        const ids = Array.from({ length: 5 }, (_, n) => prefix + String(n).repeat(56)).toSorted();
        for (const id of ids) await put(id, owner);
        const first = await store.findAgents(mark, { prefix, after: undefined, limit: 2 });
        expect(first).toEqual(ids.slice(0, 2));
        expect(await store.findAgents(mark, { prefix, after: first[1], limit: 10 })).toEqual(ids.slice(2));
        expect(await store.findAgents(mark, { prefix: `${prefix}9`, after: undefined, limit: 10 })).toEqual([]);
        const hostId = owner.hostId;
        expect(await store.findAgents(mark, { ownerHostId: hostId, after: ids[3], limit: 10 })).toEqual(ids.slice(4));
        expect(await store.findAgents(mark, { after: "f".repeat(64), limit: 10 })).toEqual([]);
      });

      test("an agent that changes hands is found under its new owner's host only", async () => {
        const [a, b] = [await opened(), await opened()];
        const agentId = newAgentId();
        await put(agentId, a);
        const moved = { before: bytes("first"), placement: { before: ownedBy(a), after: ownedBy(b) } };
        expect(await store.apply(mark, b, [change(agentId, moved)])).toEqual(["applied"]);
        const of = (hostId: string) => store.findAgents(mark, { ownerHostId: hostId, after: undefined, limit: 9 });
        expect([await of(a.hostId), await of(b.hostId)]).toEqual([[], [agentId]]);
        await close(a);
        expect(await toOffer([agentId])).toEqual([]);
        await close(b);
        expect(await toOffer([agentId])).toEqual([agentId]);
      });

      test("§8: the agents of a closed session are to be offered until somebody takes them up", async () => {
        const [owner, taker] = [await opened(), await opened()];
        const [running, stopped] = [newAgentId(), newAgentId()];
        await put(running, owner);
        await put(stopped, owner, { ...ownedBy(owner), offeredWhenClosed: undefined });
        expect(await store.findAgentsOfSession(mark, owner, { after: undefined, limit: 9 })).toEqual([running]);
        expect(await toOffer([running, stopped])).toEqual([]);

        await close(owner);
        expect(await toOffer([running, stopped])).toEqual([running]);
        expect(await store.findAgentsOfSession(mark, owner, { after: undefined, limit: 9 })).toEqual([running]);

        const placement = { before: ownedBy(owner), after: ownedBy(taker) };
        await store.apply(mark, taker, [change(running, { before: bytes("first"), placement })]);
        expect(await toOffer([running, stopped])).toEqual([]);
        expect(await store.findAgentsOfSession(mark, owner, { after: undefined, limit: 9 })).toEqual([]);
      });

      test("§8: what was released to be taken up is to be offered although its owner lives", async () => {
        const owner = await opened();
        const agentId = newAgentId();
        await put(agentId, owner);
        const released = { ownerHostId: owner.hostId, offeredWhenClosed: undefined, offeredNow: true };
        const release = { before: bytes("first"), placement: { before: ownedBy(owner), after: released } };
        await store.apply(mark, owner, [change(agentId, release)]);
        expect(await toOffer([agentId])).toEqual([agentId]);
        const taken = { before: bytes("first"), placement: { before: released, after: ownedBy(owner) } };
        await store.apply(mark, owner, [change(agentId, taken)]);
        expect(await toOffer([agentId])).toEqual([]);
      });

      const toOffer = async (among: readonly string[]): Promise<readonly string[]> => {
        const found: string[] = [];
        let after: string | undefined;
        do {
          const page = await store.findAgentsToOffer(mark, { after, limit: 2 });
          found.push(...page);
          after = page.at(-1);
        } while (after !== undefined);
        return found.filter((id) => among.includes(id));
      };
    });

    describe("announcements", () => {
      const announce = (session: SessionId, agentId: string, tick: bigint) =>
        store.announce(mark, session, { held: [{ agentId, checkpoint: checkpoint(tick) }], withdrawn: [] });

      test("§4: the newest checkpoints come first, and each session has one", async () => {
        const agentId = newAgentId();
        const [a, b] = [await opened(), await opened()];
        await announce(a, agentId, 10n);
        await announce(b, agentId, 9n);
        expect((await read(agentId)).holders).toEqual([
          { session: a, checkpoint: checkpoint(10n) },
          { session: b, checkpoint: checkpoint(9n) },
        ]);
        await announce(b, agentId, 11n);
        expect((await read(agentId)).holders.map(({ session }) => session)).toEqual([b, a]);
      });

      test("§4: an older announcement that comes late does not hide the newer one, unless that was withdrawn", async () => {
        const agentId = newAgentId();
        const a = await opened();
        await announce(a, agentId, 10n);
        await announce(a, agentId, 9n);
        expect((await read(agentId)).holders).toEqual([{ session: a, checkpoint: checkpoint(10n) }]);
        const held = [{ agentId, checkpoint: checkpoint(8n) }];
        expect(await store.announce(mark, a, { held, withdrawn: [agentId] })).toBe("announced");
        expect((await read(agentId)).holders).toEqual([{ session: a, checkpoint: checkpoint(8n) }]);
      });

      test("§4: an announcement counts only while its session lives", async () => {
        const agentId = newAgentId();
        const [a, b] = [await opened(), await opened()];
        await announce(a, agentId, 2n);
        await announce(b, agentId, 1n);
        await close(a);
        expect((await read(agentId)).holders.map(({ session }) => session)).toEqual([b]);
        expect(await announce(a, agentId, 3n)).toBe("caller-void");
      });

      test("§4: what is withdrawn counts no more", async () => {
        const agentId = newAgentId();
        const a = await opened();
        await announce(a, agentId, 2n);
        expect(await store.announce(mark, a, { held: [], withdrawn: [agentId] })).toBe("announced");
        expect((await read(agentId)).holders).toEqual([]);
      });

      test("§11: at most 8 are kept, live ones before closed ones, newest first", async () => {
        const agentId = newAgentId();
        const dead = await opened();
        await announce(dead, agentId, 1_000n);
        await close(dead);
        for (let tick = 1n; tick <= BigInt(MAX_HOLDERS) + 2n; tick++) await announce(await opened(), agentId, tick);
        const ticks = (await read(agentId)).holders.map((holder) => holder.checkpoint.tick);
        expect(ticks).toEqual([10n, 9n, 8n, 7n, 6n, 5n, 4n, 3n]);
      });

      test("§4: a newer announcement in between refuses a change that depends on what was announced", async () => {
        const agentId = newAgentId();
        const [owner, a, b] = [await opened(), await opened(), await opened()];
        await put(agentId, owner);
        await announce(a, agentId, 1n);
        const { holders: holdersSeen } = await read(agentId);
        await announce(b, agentId, 2n);
        const recover = change(agentId, { before: bytes("first"), after: bytes("second"), holdersSeen });
        expect(await store.apply(mark, owner, [recover])).toEqual(["holders-changed"]);
        // One that is gone again matters no more.
        await close(b);
        expect(await store.apply(mark, owner, [recover])).toEqual(["applied"]);
      });

      test("§4: nothing that was announced is the same as nothing that was seen", async () => {
        const agentId = newAgentId();
        const owner = await opened();
        expect(await store.apply(mark, owner, [change(agentId, { holdersSeen: [] })])).toEqual(["applied"]);
        await announce(owner, agentId, 1n);
        const again = change(agentId, { before: bytes("first"), holdersSeen: [] });
        expect(await store.apply(mark, owner, [again])).toEqual(["holders-changed"]);
      });
    });

    describe("hosts", () => {
      const find = async (hostId: string) => {
        const host = (await store.readHosts(mark, 0)).hosts.find((each) => each.hostId === hostId);
        if (host === undefined) return undefined;
        const { version: _, ...rest } = host;
        return rest;
      };
      const seenAt = async (hostId: string) => (await store.readHostsSeen(mark, [hostId]))[0];

      test("a host is what it last said of itself, live while it has an open session", async () => {
        const session = await opened();
        const { hostId } = session;
        expect(await store.putHost(mark, session, { info: info("one"), seenAtMs: 5 })).toBe("stored");
        expect(await store.putHost(mark, session, { info: info("two"), seenAtMs: 6 })).toBe("stored");
        expect(await find(hostId)).toEqual({
          hostId,
          info: info("two"),
          draining: false,
          failures: 0,
          lastFailureAtMs: 0,
          live: true,
        });
        expect(await seenAt(hostId)).toBe(6);
        await close(session);
        expect((await find(hostId))?.live).toBe(false);
        expect(await store.putHost(mark, session, { info: info("three"), seenAtMs: 7 })).toBe("caller-void");
        await opened(hostId);
        expect(await find(hostId)).toMatchObject({ live: true, info: info("two") });
      });

      test("a renewal shows that the host was seen", async () => {
        const session = await opened();
        await store.putHost(mark, session, { info: info("one"), seenAtMs: 5 });
        await store.renewSession(mark, { ...renewal(session, 0n), seenAtMs: 99 });
        expect(await seenAt(session.hostId)).toBe(99);
        const other = newHostId();
        expect(await store.readHostsSeen(mark, [other, session.hostId])).toEqual([0, 99]);
        expect(await store.readHostsSeen(mark, [])).toEqual([]);
      });

      test("draining is set and taken back, and survives what the host says of itself", async () => {
        const session = await opened();
        await store.putHost(mark, session, { info: info("one"), seenAtMs: 5 });
        expect(await store.setDraining(mark, session.hostId, true)).toBe("set");
        await store.putHost(mark, session, { info: info("two"), seenAtMs: 5 });
        expect((await find(session.hostId))?.draining).toBe(true);
        expect(await store.setDraining(mark, session.hostId, false)).toBe("set");
        expect((await find(session.hostId))?.draining).toBe(false);
        expect(await store.setDraining(mark, newHostId(), true)).toBe("unknown-host");
      });

      test("GH-7: failures are counted in a row, and one that comes late begins a new row", async () => {
        const [session, reporter] = [await opened(), await opened()];
        const { hostId } = session;
        await store.putHost(mark, session, { info: info("one"), seenAtMs: 5 });
        const count = (failed: boolean, atMs: number) =>
          store.countOutcome(mark, reporter, { hostId, failed, atMs, forgetAfterMs: 1_000 });
        expect(await count(true, 10_000)).toEqual({ kind: "counted", failures: 1 });
        expect(await count(true, 10_999)).toEqual({ kind: "counted", failures: 2 });
        expect(await find(hostId)).toMatchObject({ failures: 2, lastFailureAtMs: 10_999 });
        expect(await count(true, 11_999)).toEqual({ kind: "counted", failures: 1 });
        expect(await count(false, 12_000)).toEqual({ kind: "counted", failures: 0 });
        expect((await find(hostId))?.failures).toBe(0);
        expect(await count(true, 12_001)).toEqual({ kind: "counted", failures: 1 });
      });

      test("GH-7: nobody reports about an unknown host, or from a closed session", async () => {
        const reporter = await opened();
        const report = { hostId: newHostId(), failed: true, atMs: 1, forgetAfterMs: 1 };
        expect(await store.countOutcome(mark, reporter, report)).toEqual({ kind: "unknown-host" });
        await close(reporter);
        expect(await store.countOutcome(mark, reporter, report)).toEqual({ kind: "caller-void" });
      });
    });

    describe("what changed among the hosts", () => {
      const changesAfter = async (version: number) => {
        const { hosts, latest } = await store.readHosts(mark, version);
        if (hosts.length > 0) expect(hosts.at(-1)?.version).toBe(latest);
        return { hosts: hosts.map(({ hostId, live }) => ({ hostId, live })), latest };
      };

      test("is each host once, in the order of its last change", async () => {
        const { latest: begin } = await store.readHosts(mark, Number.MAX_SAFE_INTEGER);
        const [a, b] = [await opened(), await opened()];
        expect(await changesAfter(begin)).toEqual({ hosts: [], latest: begin }); // nobody knows them yet
        for (const session of [a, b, a]) await store.putHost(mark, session, { info: info("info"), seenAtMs: 1 });
        const { hosts, latest } = await changesAfter(begin);
        expect(hosts).toEqual([
          { hostId: b.hostId, live: true },
          { hostId: a.hostId, live: true },
        ]);
        expect(await changesAfter(latest)).toEqual({ hosts: [], latest });
      });

      test("a session that opens or is closed, draining and outcomes are changes; a renewal is none", async () => {
        const session = await opened();
        const { hostId } = session;
        await store.putHost(mark, session, { info: info("info"), seenAtMs: 1 });
        const report = { hostId, failed: true, atMs: 1, forgetAfterMs: 1 };
        let version = (await store.readHosts(mark, Number.MAX_SAFE_INTEGER)).latest;
        const changed = async (work: () => Promise<unknown>, expected: readonly object[]) => {
          await work();
          const { hosts, latest } = await changesAfter(version);
          expect(hosts).toEqual(expected);
          version = latest;
        };
        await changed(() => store.renewSession(mark, renewal(session, 0n)), []);
        await changed(() => store.setDraining(mark, hostId, true), [{ hostId, live: true }]);
        await changed(() => store.countOutcome(mark, session, report), [{ hostId, live: true }]);
        await changed(() => store.countOutcome(mark, session, { ...report, failed: false }), [{ hostId, live: true }]);
        const second = { hostId, bootId: randomUUID() };
        await changed(() => store.openSession(mark, stored(second), 1), [{ hostId, live: true }]);
        await changed(() => close(session), [{ hostId, live: true }]); // the other one lives
        await changed(() => close(second), [{ hostId, live: false }]);
        await changed(() => close(second), []);
      });

      test("comes in pages, of which the last one ends with the newest version", async () => {
        const session = await opened();
        const { latest: begin } = await store.readHosts(mark, Number.MAX_SAFE_INTEGER);
        const sessions = await Promise.all(Array.from({ length: MAX_HOST_CHANGES + 3 }, () => opened()));
        await Promise.all(sessions.map((each) => store.putHost(mark, each, { info: info("i"), seenAtMs: 1 })));
        const first = await store.readHosts(mark, begin);
        expect(first.hosts).toHaveLength(MAX_HOST_CHANGES);
        await store.putHost(mark, session, { info: info("i"), seenAtMs: 1 });
        const second = await store.readHosts(mark, first.hosts.at(-1)?.version ?? 0);
        expect(second.hosts).toHaveLength(4);
        expect(second.hosts.at(-1)?.version).toBe(second.latest);
        const ids = [...first.hosts, ...second.hosts].map(({ hostId }) => hostId);
        expect(new Set(ids)).toEqual(new Set([...sessions, session].map(({ hostId }) => hostId)));
      });

      test("GH-7: what a replica knows after any changes is what is there", { timeout: 60_000 }, async () => {
        const known = new KnownHosts(store, mark);
        const sessions: SessionId[] = [];
        const pick = () => sessions[randomInt(sessions.length)] as SessionId;
        const put = async (session: SessionId) => {
          const said = create(HostInfoSchema, { hostId: session.hostId, pricePerSecond: BigInt(randomInt(4)) });
          await store.putHost(mark, session, { info: toBinary(HostInfoSchema, said), seenAtMs: 1 });
        };
        const steps: readonly (() => Promise<unknown>)[] = [
          async () => sessions.push(await opened()),
          async () => sessions.push(await opened(pick().hostId)),
          () => put(pick()),
          () => put(pick()),
          () => close(pick()),
          () => store.setDraining(mark, pick().hostId, randomInt(2) === 0),
          () =>
            store.countOutcome(mark, pick(), {
              hostId: pick().hostId,
              failed: randomInt(2) === 0,
              atMs: 1,
              forgetAfterMs: 9,
            }),
        ];
        sessions.push(await opened());
        await Promise.all(sessions.map(put));
        for (let round = 0; round < 12; round++) {
          const some = Array.from({ length: 1 + randomInt(20) }, () => steps[randomInt(steps.length)]);
          // Questions come while there are changes.
          await Promise.all(some.flatMap((step) => [step?.(), known.refresh()]));
          await known.refresh();
          const fresh = new KnownHosts(store, mark);
          await fresh.refresh();
          expect(known.byId).toEqual(fresh.byId);
          expect(known.byPrice).toEqual(fresh.byPrice);
          expect(new Set(known.byPrice)).toEqual(new Set(known.byId));
        }
      });
    });

    describe("durability", () => {
      test("GA-6: what was answered is there after a restart, and the mark with it", async () => {
        const session = await opened();
        const agentId = newAgentId();
        await put(agentId, session);
        await store.renewSession(mark, renewal(session, 0n));
        await store.stop();
        await ground.redis?.kill();
        await ground.redis?.restart();
        store = ground.store();
        await store.start();
        const { identity, mark: found } = await store.readMark();
        expect(found).toEqual(mark);
        // A Redis that was started again is another one, whatever it kept; an embedded store that was closed is the same.
        expect(identity === statementIn(mark).storeIdentity).toBe(kind !== "redis");
        if (kind === "redis") {
          await expect(store.readSessions(mark, [session])).rejects.toBeInstanceOf(MarkMismatch);
          const adopted = signMark({ ...statementIn(mark), storeIdentity: identity }, signer).bytes;
          expect(await store.replaceMark(mark, adopted)).toBe(true);
          mark = adopted;
        }
        expect((await store.readSessions(mark, [session]))[0]).toEqual({ ...stored(session), generation: 1n });
        expect((await read(agentId)).record).toBe("first");
      });
    });
  });
}
