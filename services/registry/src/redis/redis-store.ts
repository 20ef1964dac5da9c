// The store of a cluster: one Redis primary, any number of registries in front of it.
//
// Every change is one script (lua/), which compares the mark before anything else; a read carries the mark along in its
// one round trip. Nothing here decides: outcomes are the scripts' names.

import type { LeaseRules, SessionId, SessionSighting } from "@godwit/common/lease";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { sameBytes } from "../store/bytes.ts";
import { checkpointKey, readCheckpointKey } from "../store/checkpoint-key.ts";
import {
  type AgentsRead,
  type Announcement,
  type ApplyOutcome,
  type CloseOutcome,
  type Closing,
  type CountedOutcome,
  MAX_HISTORY,
  MAX_HOLDERS,
  MarkMismatch,
  type OutcomeReport,
  type Page,
  type RecordChange,
  type RegistryStore,
  type Renewal,
  type RenewOutcome,
  type StoredHolder,
  type StoredHost,
  type StoredSession,
} from "../store/registry-store.ts";
import { RedisConnection, type RedisConnectionRules } from "./connection.ts";
import { keys, listings, readSessionField, sessionField } from "./keys.ts";
import { asBuffer, readReply, type ScriptName, scriptCall, scriptsOf } from "./scripts.ts";

const SESSION_FIELDS = ["incarnation", "generation", "duration", "grace", "renew", "closed", "secret"] as const;

export class RedisStore implements RegistryStore {
  readonly kind = "redis";
  readonly #connection: RedisConnection;

  constructor(rules: RedisConnectionRules, logger: Logger) {
    this.#connection = new RedisConnection(rules, logger);
  }

  get where(): string {
    return this.#connection.where;
  }

  async start(): Promise<void> {
    await this.#connection.start();
  }

  async stop(): Promise<void> {
    await this.#connection.stop();
  }

  trouble(): string | undefined {
    return this.#connection.trouble;
  }

  async readMark(): Promise<Uint8Array | undefined> {
    const mark = await this.#connection.run((redis) => redis.getBuffer(keys.mark));
    return mark === null ? undefined : new Uint8Array(mark);
  }

  async createMark(mark: Uint8Array): Promise<boolean> {
    return (await this.#connection.run((redis) => redis.setnx(keys.mark, asBuffer(mark)))) === 1;
  }

  async openSession(mark: Uint8Array, session: StoredSession, seenAtMs: number): Promise<"opened" | "exists"> {
    const { hostId, bootId, incarnation, rules, secretDigest } = session;
    const [outcome] = await this.#script("openSession", {
      keys: [keys.mark, keys.session(session), keys.openSessions, keys.hostsSeen],
      args: [
        mark,
        hostId,
        bootId,
        incarnation,
        rules.durationMs,
        rules.graceMs,
        rules.renewEveryMs,
        hex(secretDigest),
        seenAtMs,
      ],
    });
    return named(outcome, { OPENED: "opened", EXISTS: "exists" });
  }

  async renewSession(mark: Uint8Array, renewal: Renewal): Promise<RenewOutcome> {
    const { hostId, bootId, incarnation, secretDigest, generation, seenAtMs } = renewal;
    const [outcome, stored = "", duration, grace, renew] = await this.#script("renewSession", {
      keys: [keys.mark, keys.session(renewal), keys.openSessions, keys.hostsSeen],
      args: [mark, hostId, bootId, incarnation, hex(secretDigest), generation.toString(), seenAtMs],
    });
    if (outcome === "RENEWED") {
      return { kind: "renewed", generation: BigInt(stored), rules: rulesOf(duration, grace, renew) };
    }
    if (outcome === "FORGOT") return { kind: "forgot", generation: BigInt(stored) };
    return { kind: named(outcome, { UNKNOWN: "unknown", VOID: "void", BAD_SECRET: "bad-secret" }) };
  }

  async closeSession(mark: Uint8Array, { session, generation, caller }: Closing): Promise<CloseOutcome> {
    const [outcome] = await this.#script("closeSession", {
      keys: [
        keys.mark,
        keys.session(session),
        keys.openSessions,
        keys.session(caller ?? session),
        keys.offerWhenClosed(session),
        keys.offerNow,
      ],
      args: [mark, sessionField(session), generation?.toString() ?? "", caller === undefined ? "" : "caller"],
    });
    return named(outcome, {
      CLOSED: "closed",
      CLOSED_BEFORE: "closed-before",
      UNKNOWN: "unknown",
      MOVED: "moved",
      CALLER_VOID: "caller-void",
    });
  }

  async readSessions(
    mark: Uint8Array,
    sessions: readonly SessionId[],
  ): Promise<readonly (StoredSession | undefined)[]> {
    const [stored, ...replies] = await this.#connection.pipeline((pipeline) => {
      pipeline.getBuffer(keys.mark);
      for (const session of sessions) pipeline.hmget(keys.session(session), ...SESSION_FIELDS);
    });
    compare(stored, mark);
    return sessions.map((session, at) => sessionOf(session, replies[at]));
  }

  async readOpenSessions(mark: Uint8Array): Promise<readonly SessionSighting[]> {
    const [stored, open] = await this.#connection.pipeline((pipeline) => {
      pipeline.getBuffer(keys.mark);
      pipeline.hgetall(keys.openSessions);
    });
    compare(stored, mark);
    return Object.entries(open as Record<string, string>).map(([field, value]) => {
      const [generation = "0", duration, grace] = value.split(" ");
      return {
        ...readSessionField(field),
        generation: BigInt(generation),
        durationMs: Number(duration),
        graceMs: Number(grace),
      };
    });
  }

  async readAgents(
    mark: Uint8Array,
    {
      caller,
      agentIds,
      withHolders,
    }: {
      readonly caller?: SessionId | undefined;
      readonly agentIds: readonly string[];
      readonly withHolders: boolean;
    },
  ): Promise<AgentsRead> {
    const replies = await this.#connection.pipeline((pipeline) => {
      pipeline.getBuffer(keys.mark);
      if (agentIds.length > 0) pipeline.mgetBuffer(...agentIds.map(keys.agent));
      if (caller !== undefined) pipeline.hmget(keys.session(caller), ...SESSION_FIELDS);
      if (!withHolders) return;
      const scripts = scriptsOf<unknown>(pipeline);
      for (const id of agentIds) {
        scripts.readHolders(...scriptCall([keys.holders(id), keys.openSessions], [MAX_HOLDERS]));
      }
    });
    const rest = [...replies];
    compare(rest.shift(), mark);
    const records = agentIds.length > 0 ? (rest.shift() as readonly (Buffer | null)[]) : [];
    const session = caller && sessionOf(caller, rest.shift());
    return {
      caller: session,
      agents: agentIds.map((_, at) => ({
        record: bytesOf(records[at]),
        holders: withHolders ? holdersOf(rest[at]) : [],
      })),
    };
  }

  async apply(mark: Uint8Array, caller: SessionId, changes: readonly RecordChange[]): Promise<readonly ApplyOutcome[]> {
    const [only, ...others] = changes.map((change) => applyCall(mark, caller, change));
    if (only === undefined) return [];
    const replies =
      others.length === 0
        ? [await this.#connection.run((redis) => scriptsOf<Promise<unknown>>(redis).applyChange(...only))]
        : await this.#connection.pipeline((pipeline) => {
            const scripts = scriptsOf<unknown>(pipeline);
            for (const call of [only, ...others]) scripts.applyChange(...call);
          });
    return replies.map((reply) => {
      const [outcome] = readReply(reply);
      if (outcome === "MARK") throw new MarkMismatch();
      return named(outcome, {
        APPLIED: "applied",
        CALLER_VOID: "caller-void",
        RECORD_CHANGED: "record-changed",
        HOLDERS_CHANGED: "holders-changed",
      });
    });
  }

  async announce(
    mark: Uint8Array,
    caller: SessionId,
    { held, withdrawn }: Announcement,
  ): Promise<"announced" | "caller-void"> {
    const items = [
      ...withdrawn.map((agentId) => ({ agentId, checkpoint: "" })),
      ...held.map(({ agentId, checkpoint }) => ({ agentId, checkpoint: checkpointKey(checkpoint) })),
    ];
    const replies = await this.#connection.pipeline((pipeline) => {
      const scripts = scriptsOf<unknown>(pipeline);
      for (const { agentId, checkpoint } of items) {
        const names = [keys.mark, keys.session(caller), keys.holders(agentId), keys.openSessions];
        scripts.announceHeld(...scriptCall(names, [mark, sessionField(caller), checkpoint, MAX_HOLDERS]));
      }
    });
    const outcomes = replies.map((reply) => {
      const [outcome] = readReply(reply);
      if (outcome === "MARK") throw new MarkMismatch();
      return named(outcome, { ANNOUNCED: "announced", CALLER_VOID: "caller-void" });
    });
    return outcomes.includes("caller-void") ? "caller-void" : "announced";
  }

  async findAgents(
    mark: Uint8Array,
    { prefix = "", ownerHostId, ...page }: Page & { readonly prefix?: string; readonly ownerHostId?: string },
  ): Promise<readonly string[]> {
    return await this.#page(mark, ownerHostId === undefined ? keys.agents : keys.agentsOfHost(ownerHostId), {
      ...page,
      prefix,
    });
  }

  async readHistory(mark: Uint8Array, agentId: string): Promise<readonly Uint8Array[]> {
    const [stored, entries] = await this.#connection.pipeline((pipeline) => {
      pipeline.getBuffer(keys.mark);
      pipeline.lrangeBuffer(keys.history(agentId), 0, MAX_HISTORY - 1);
    });
    compare(stored, mark);
    return (entries as readonly Buffer[]).map((entry) => new Uint8Array(entry));
  }

  async findAgentsToOffer(mark: Uint8Array, page: Page): Promise<readonly string[]> {
    return await this.#page(mark, keys.offerNow, { ...page, prefix: "" });
  }

  async findAgentsOfSession(mark: Uint8Array, session: SessionId, page: Page): Promise<readonly string[]> {
    return await this.#page(mark, keys.offerWhenClosed(session), { ...page, prefix: "" });
  }

  async putHost(
    mark: Uint8Array,
    caller: SessionId,
    { info, seenAtMs }: { readonly info: Uint8Array; readonly seenAtMs: number },
  ): Promise<"stored" | "caller-void"> {
    const [outcome] = await this.#script("putHost", {
      keys: [keys.mark, keys.session(caller), keys.hosts, keys.hostsSeen],
      args: [mark, caller.hostId, info, seenAtMs],
    });
    return named(outcome, { STORED: "stored", CALLER_VOID: "caller-void" });
  }

  async readHosts(mark: Uint8Array): Promise<readonly StoredHost[]> {
    const [stored, infos, draining, failures, seen, open] = await this.#connection.pipeline((pipeline) => {
      pipeline.getBuffer(keys.mark);
      pipeline.hgetallBuffer(keys.hosts);
      pipeline.smembers(keys.hostsDraining);
      pipeline.hgetall(keys.hostsFailures);
      pipeline.hgetall(keys.hostsSeen);
      pipeline.hkeys(keys.openSessions);
    });
    compare(stored, mark);
    const drainingHosts = new Set(draining as readonly string[]);
    const live = new Set((open as readonly string[]).map((field) => readSessionField(field).hostId));
    return Object.entries(infos as Record<string, Buffer>)
      .map(([hostId, info]) => {
        const [count = "0", atMs = "0"] = ((failures as Record<string, string>)[hostId] ?? "").split(" ");
        return {
          hostId,
          info: new Uint8Array(info),
          draining: drainingHosts.has(hostId),
          failures: Number(count),
          lastFailureAtMs: Number(atMs),
          lastSeenAtMs: Number((seen as Record<string, string>)[hostId] ?? 0),
          live: live.has(hostId),
        };
      })
      .toSorted((a, b) => (a.hostId < b.hostId ? -1 : 1));
  }

  async setDraining(mark: Uint8Array, hostId: string, draining: boolean): Promise<"set" | "unknown-host"> {
    const [outcome] = await this.#script("setDraining", {
      keys: [keys.mark, keys.hosts, keys.hostsDraining],
      args: [mark, hostId, draining ? "draining" : ""],
    });
    return named(outcome, { SET: "set", UNKNOWN_HOST: "unknown-host" });
  }

  async countOutcome(
    mark: Uint8Array,
    caller: SessionId,
    { hostId, failed, atMs, forgetAfterMs }: OutcomeReport,
  ): Promise<CountedOutcome> {
    const [outcome, failures] = await this.#script("countOutcome", {
      keys: [keys.mark, keys.session(caller), keys.hosts, keys.hostsFailures],
      args: [mark, hostId, failed ? "failed" : "", atMs, forgetAfterMs],
    });
    if (outcome === "COUNTED") return { kind: "counted", failures: Number(failures) };
    return { kind: named(outcome, { UNKNOWN_HOST: "unknown-host", CALLER_VOID: "caller-void" }) };
  }

  async #script(
    name: ScriptName,
    call: { readonly keys: readonly string[]; readonly args: readonly (string | number | Uint8Array)[] },
  ): Promise<readonly [string, ...string[]]> {
    const reply = await this.#connection.run((redis: Redis) =>
      scriptsOf<Promise<unknown>>(redis)[name](...scriptCall(call.keys, call.args)),
    );
    const named = readReply(reply);
    if (named[0] === "MARK") throw new MarkMismatch();
    return named;
  }

  async #page(
    mark: Uint8Array,
    key: string,
    { after, limit, prefix }: Page & { readonly prefix: string },
  ): Promise<readonly string[]> {
    const from = after !== undefined && after >= prefix ? `(${after}` : `[${prefix}`;
    const [stored, ids] = await this.#connection.pipeline((pipeline) => {
      pipeline.getBuffer(keys.mark);
      // Ids are hex, so "g" is above all that begin with the prefix.
      pipeline.zrangebylex(key, from, `(${prefix}g`, "LIMIT", 0, limit);
    });
    compare(stored, mark);
    return ids as readonly string[];
  }
}

function applyCall(mark: Uint8Array, caller: SessionId, change: RecordChange) {
  const { agentId, before, after, placement, history, holdersSeen } = change;
  const lists = listings(before && placement.before, placement.after);
  return scriptCall(
    [
      keys.mark,
      keys.session(caller),
      keys.agent(agentId),
      keys.history(agentId),
      keys.holders(agentId),
      keys.openSessions,
      ...lists.map(({ key }) => key),
    ],
    [
      mark,
      agentId,
      before ?? "",
      after,
      history?.entry ?? "",
      MAX_HISTORY,
      holdersSeen === undefined ? "any" : holdersSeen.map(seenLine).join(""),
      ...lists.map(({ change }) => change),
    ],
  );
}

function seenLine({ session, checkpoint }: StoredHolder): string {
  return `${sessionField(session)}=${checkpointKey(checkpoint)}\n`;
}

function compare(stored: unknown, mark: Uint8Array): void {
  if (!(stored instanceof Buffer) || !sameBytes(stored, mark)) throw new MarkMismatch();
}

function sessionOf(session: SessionId, reply: unknown): StoredSession | undefined {
  const [incarnation, generation, duration, grace, renew, closed, secret] = reply as readonly (string | null)[];
  if (incarnation === null || incarnation === undefined) return undefined;
  return {
    hostId: session.hostId,
    bootId: session.bootId,
    incarnation,
    generation: BigInt(generation ?? "0"),
    rules: rulesOf(duration, grace, renew),
    closed: closed !== "0",
    secretDigest: new Uint8Array(Buffer.from(secret ?? "", "hex")),
  };
}

function rulesOf(
  duration: string | null | undefined,
  grace: string | null | undefined,
  renew: string | null | undefined,
): LeaseRules {
  return { durationMs: Number(duration), graceMs: Number(grace), renewEveryMs: Number(renew) };
}

function holdersOf(reply: unknown): readonly StoredHolder[] {
  const flat = reply as readonly string[];
  const holders: StoredHolder[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [field = "", checkpoint = ""] = flat.slice(at, at + 2);
    holders.push({ session: readSessionField(field), checkpoint: readCheckpointKey(checkpoint) });
  }
  return holders;
}

function bytesOf(reply: Buffer | null | undefined): Uint8Array | undefined {
  return reply === null || reply === undefined ? undefined : new Uint8Array(reply);
}

function hex(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("hex");
}

function named<const T extends Readonly<Record<string, string>>>(outcome: string, names: T): T[keyof T] {
  const name = names[outcome as keyof T];
  if (name === undefined) throw new Error(`a script answered ${outcome}`);
  return name;
}
