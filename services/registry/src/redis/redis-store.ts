// The store of a cluster: one Redis primary, any number of registries in front of it.
//
// Every change is one script (lua/), which compares the mark before anything else; a read carries the mark along in its
// one round trip. Nothing here decides: outcomes are the scripts' names.

import type { LeaseRules, SessionId, SessionSighting } from "@godwit/common/lease";
import type { ChainableCommander, Redis } from "ioredis";
import { statementIn } from "../mark/mark.ts";
import { admit, beginsIncarnation, type StoreStep } from "../store/admission.ts";
import { sameBytes } from "../store/bytes.ts";
import { checkpointKey, readCheckpointKey } from "../store/checkpoint-key.ts";
import {
  type AgentsRead,
  type Announcement,
  type ApplyOutcome,
  type CloseOutcome,
  type Closing,
  type CountedOutcome,
  type HostChanges,
  MAX_HISTORY,
  MAX_HOLDERS,
  MAX_HOST_CHANGES,
  MarkMismatch,
  type MarkReading,
  type OutcomeReport,
  type Page,
  type Reassertion,
  type ReassertOutcome,
  type RecordChange,
  type RegistryStore,
  type Renewal,
  type RenewOutcome,
  type StoredHolder,
  type StoredHost,
  type StoredSession,
} from "../store/registry-store.ts";
import { RedisConnection, type RedisConnectionParts, type RedisConnectionRules } from "./connection.ts";
import { keys, listings, readSessionField, sessionField } from "./keys.ts";
import { asBuffer, bufferScriptsOf, readReply, type ScriptName, scriptCall, scriptsOf } from "./scripts.ts";

/** Redis serves nobody else meanwhile: a few milliseconds. */
const CHANGES_IN_A_STEP = 256;

/** What a script needs to open or close a session and to say so in the directory, at the end of its keys. */
const DIRECTORY = [keys.openSessionsByHost, keys.hosts, keys.hostsVersion, keys.hostsChanged] as const;

const SESSION_FIELDS = ["incarnation", "generation", "duration", "grace", "renew", "closed", "secret"] as const;

export class RedisStore implements RegistryStore {
  readonly kind = "redis";
  readonly #connection: RedisConnection;

  constructor(parts: RedisConnectionParts, rules: RedisConnectionRules) {
    this.#connection = new RedisConnection(parts, rules);
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

  async readMark(): Promise<MarkReading> {
    const { identity, value } = await this.#connection.identify(keys.mark);
    return { identity, mark: value };
  }

  async replaceMark(before: Uint8Array | undefined, after: Uint8Array): Promise<boolean> {
    const { storeIdentity } = statementIn(after);
    const sameStore = (liveIdentity: string) => {
      if (liveIdentity !== storeIdentity) throw new MarkMismatch();
    };
    const forget = beginsIncarnation(before, after) ? "forget" : "";
    const names = [keys.mark, keys.openSessions, keys.openSessionsByHost];
    const call = scriptCall(names, [before ?? "", after, forget]);
    try {
      const reply = await this.#connection.run(sameStore, (redis) =>
        scriptsOf<Promise<unknown>>(redis).replaceMark(...call),
      );
      return named(readReply(reply)[0], { REPLACED: "replaced", CHANGED: "changed" }) === "replaced";
    } catch (error) {
      if (error instanceof MarkMismatch) return false;
      throw error;
    }
  }

  async openSession(mark: Uint8Array, session: StoredSession, seenAtMs: number): Promise<"opened" | "exists"> {
    const { hostId, bootId, incarnation, rules, secretDigest } = session;
    const [outcome] = await this.#script(mark, "openSession", {
      keys: [keys.mark, keys.session(session), keys.openSessions, keys.hostsSeen, ...DIRECTORY],
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
    const [outcome, stored = "", duration, grace, renew] = await this.#script(mark, "renewSession", {
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
    const [outcome] = await this.#script(mark, "closeSession", {
      keys: [
        keys.mark,
        keys.session(session),
        keys.openSessions,
        keys.offerWhenClosed(session),
        keys.offerNow,
        ...DIRECTORY,
      ],
      args: [
        mark,
        sessionField(session),
        generation?.toString() ?? "",
        caller === undefined ? "" : sessionField(caller),
        session.hostId,
      ],
    });
    return named(outcome, {
      CLOSED: "closed",
      CLOSED_BEFORE: "closed-before",
      UNKNOWN: "unknown",
      MOVED: "moved",
      CALLER_VOID: "caller-void",
    });
  }

  async reassertSession(mark: Uint8Array, reassertion: Reassertion): Promise<ReassertOutcome> {
    const { hostId, bootId, incarnation, generation, rules, secretDigest, seenAtMs } = reassertion;
    const { durationMs, graceMs, renewEveryMs } = rules;
    const [outcome, now = "", duration, grace, renew] = await this.#script(mark, "reassertSession", {
      keys: [keys.mark, keys.session(reassertion), keys.openSessions, keys.hostsSeen, ...DIRECTORY],
      args: [
        mark,
        hostId,
        bootId,
        incarnation,
        durationMs,
        graceMs,
        renewEveryMs,
        hex(secretDigest),
        generation.toString(),
        seenAtMs,
      ],
    });
    if (named(outcome, { REASSERTED: "reasserted", VOID: "void" }) === "void") return { kind: "void" };
    const session: StoredSession = {
      hostId,
      bootId,
      incarnation,
      generation: BigInt(now),
      rules: rulesOf(duration, grace, renew),
      closed: false,
      secretDigest,
    };
    return { kind: "reasserted", session };
  }

  async readSessions(
    mark: Uint8Array,
    sessions: readonly SessionId[],
  ): Promise<readonly (StoredSession | undefined)[]> {
    const [stored, ...replies] = await this.#pipeline(mark, "readSessions", (pipeline) => {
      pipeline.getBuffer(keys.mark);
      for (const session of sessions) pipeline.hmget(keys.session(session), ...SESSION_FIELDS);
    });
    compare(stored, mark);
    return sessions.map((session, at) => sessionOf(session, replies[at]));
  }

  async readOpenSessions(mark: Uint8Array): Promise<readonly SessionSighting[]> {
    const [stored, open] = await this.#pipeline(mark, "readOpenSessions", (pipeline) => {
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
    const replies = await this.#pipeline(mark, "readAgents", (pipeline) => {
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

  async apply(
    mark: Uint8Array,
    caller: SessionId | undefined,
    changes: readonly RecordChange[],
  ): Promise<readonly ApplyOutcome[]> {
    return await this.#apply(mark, "apply", { caller, changes });
  }

  async applyReasserted(
    mark: Uint8Array,
    caller: SessionId,
    changes: readonly RecordChange[],
  ): Promise<readonly ApplyOutcome[]> {
    return await this.#apply(mark, "applyReasserted", { caller, changes });
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
    const replies = await this.#pipeline(mark, "announce", (pipeline) => {
      const scripts = scriptsOf<unknown>(pipeline);
      for (const { agentId, checkpoint } of items) {
        const names = [keys.mark, keys.holders(agentId), keys.openSessions];
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
    const key = ownerHostId === undefined ? keys.agents : keys.agentsOfHost(ownerHostId);
    return await this.#page(mark, "findAgents", { ...page, key, prefix });
  }

  async readHistory(mark: Uint8Array, agentId: string): Promise<readonly Uint8Array[]> {
    const [stored, entries] = await this.#pipeline(mark, "readHistory", (pipeline) => {
      pipeline.getBuffer(keys.mark);
      pipeline.lrangeBuffer(keys.history(agentId), 0, MAX_HISTORY - 1);
    });
    compare(stored, mark);
    return (entries as readonly Buffer[]).map((entry) => new Uint8Array(entry));
  }

  async findAgentsToOffer(mark: Uint8Array, page: Page): Promise<readonly string[]> {
    return await this.#page(mark, "findAgentsToOffer", { ...page, key: keys.offerNow, prefix: "" });
  }

  async findAgentsOfSession(mark: Uint8Array, session: SessionId, page: Page): Promise<readonly string[]> {
    const key = keys.offerWhenClosed(session);
    return await this.#page(mark, "findAgentsOfSession", { ...page, key, prefix: "" });
  }

  async putHost(
    mark: Uint8Array,
    caller: SessionId,
    { info, seenAtMs }: { readonly info: Uint8Array; readonly seenAtMs: number },
  ): Promise<"stored" | "caller-void"> {
    const [outcome] = await this.#script(mark, "putHost", {
      keys: [keys.mark, keys.openSessions, keys.hosts, keys.hostsSeen, keys.hostsVersion, keys.hostsChanged],
      args: [mark, caller.hostId, info, seenAtMs, sessionField(caller)],
    });
    return named(outcome, { STORED: "stored", CALLER_VOID: "caller-void" });
  }

  async readHosts(mark: Uint8Array, afterVersion: number): Promise<HostChanges> {
    const names = [
      keys.mark,
      keys.hostsVersion,
      keys.hostsChanged,
      keys.hosts,
      keys.hostsDraining,
      keys.hostsFailures,
      keys.openSessionsByHost,
    ];
    const call = scriptCall(names, [mark, afterVersion, MAX_HOST_CHANGES]);
    const reply = await this.#connection.run(admission("readHosts", mark), (redis) =>
      bufferScriptsOf(redis).readHostChangesBuffer(...call),
    );
    const [outcome, latest, ...parts] = reply;
    if (outcome?.toString() === "MARK") throw new MarkMismatch();
    const hosts: StoredHost[] = [];
    for (let at = 0; at + HOST_PARTS <= parts.length; at += HOST_PARTS) hosts.push(hostOf(parts, at));
    return { hosts, latest: Number(latest) };
  }

  async readHostsSeen(mark: Uint8Array, hostIds: readonly string[]): Promise<readonly number[]> {
    const [stored, seen] = await this.#pipeline(mark, "readHostsSeen", (pipeline) => {
      pipeline.getBuffer(keys.mark);
      if (hostIds.length > 0) pipeline.hmget(keys.hostsSeen, ...hostIds);
    });
    compare(stored, mark);
    return ((seen ?? []) as readonly (string | null)[]).map((atMs) => Number(atMs ?? 0));
  }

  async setDraining(mark: Uint8Array, hostId: string, draining: boolean): Promise<"set" | "unknown-host"> {
    const [outcome] = await this.#script(mark, "setDraining", {
      keys: [keys.mark, keys.hosts, keys.hostsDraining, keys.hostsVersion, keys.hostsChanged],
      args: [mark, hostId, draining ? "draining" : ""],
    });
    return named(outcome, { SET: "set", UNKNOWN_HOST: "unknown-host" });
  }

  async countOutcome(
    mark: Uint8Array,
    caller: SessionId,
    { hostId, failed, atMs, forgetAfterMs }: OutcomeReport,
  ): Promise<CountedOutcome> {
    const [outcome, failures] = await this.#script(mark, "countOutcome", {
      keys: [keys.mark, keys.openSessions, keys.hosts, keys.hostsFailures, keys.hostsVersion, keys.hostsChanged],
      args: [mark, hostId, failed ? "failed" : "", atMs, forgetAfterMs, sessionField(caller)],
    });
    if (outcome === "COUNTED") return { kind: "counted", failures: Number(failures) };
    return { kind: named(outcome, { UNKNOWN_HOST: "unknown-host", CALLER_VOID: "caller-void" }) };
  }

  async #script(
    mark: Uint8Array,
    name: ScriptName & StoreStep,
    call: { readonly keys: readonly string[]; readonly args: readonly (string | number | Uint8Array)[] },
  ): Promise<readonly [string, ...string[]]> {
    const reply = await this.#connection.run(admission(name, mark), (redis: Redis) =>
      scriptsOf<Promise<unknown>>(redis)[name](...scriptCall(call.keys, call.args)),
    );
    const named = readReply(reply);
    if (named[0] === "MARK") throw new MarkMismatch();
    return named;
  }

  async #pipeline(
    mark: Uint8Array,
    step: StoreStep,
    build: (pipeline: ChainableCommander) => void,
  ): Promise<readonly unknown[]> {
    return await this.#connection.pipeline(admission(step, mark), build);
  }

  /** One script for as many changes as Redis may be kept busy with. */
  async #apply(
    mark: Uint8Array,
    step: StoreStep,
    { caller, changes }: { readonly caller: SessionId | undefined; readonly changes: readonly RecordChange[] },
  ): Promise<readonly ApplyOutcome[]> {
    const outcomes: ApplyOutcome[] = [];
    for (let from = 0; from < changes.length; from += CHANGES_IN_A_STEP) {
      const some = changes.slice(from, from + CHANGES_IN_A_STEP);
      const call = applyCall(mark, caller, some);
      const [first, ...others] = readReply(
        await this.#connection.run(admission(step, mark), (redis) =>
          scriptsOf<Promise<unknown>>(redis).applyChanges(...call),
        ),
      );
      if (first === "MARK") throw new MarkMismatch();
      if (first === "CALLER_VOID") outcomes.push(...some.map(() => "caller-void" as const));
      else outcomes.push(...[first, ...others].map((outcome) => named(outcome, APPLIED)));
    }
    return outcomes;
  }

  async #page(
    mark: Uint8Array,
    step: StoreStep,
    { key, after, limit, prefix }: Page & { readonly key: string; readonly prefix: string },
  ): Promise<readonly string[]> {
    const from = after !== undefined && after >= prefix ? `(${after}` : `[${prefix}`;
    const [stored, ids] = await this.#pipeline(mark, step, (pipeline) => {
      pipeline.getBuffer(keys.mark);
      // Ids are hex, so "g" is above all that begin with the prefix.
      pipeline.zrangebylex(key, from, `(${prefix}g`, "LIMIT", 0, limit);
    });
    compare(stored, mark);
    return ids as readonly string[];
  }
}

const APPLIED = {
  APPLIED: "applied",
  RECORD_CHANGED: "record-changed",
  HOLDERS_CHANGED: "holders-changed",
} as const;

function admission(step: StoreStep, mark: Uint8Array): (liveIdentity: string) => void {
  return (liveIdentity) => admit(step, mark, liveIdentity);
}

function applyCall(mark: Uint8Array, caller: SessionId | undefined, changes: readonly RecordChange[]) {
  const names: string[] = [keys.mark, keys.openSessions];
  const args: (string | number | Uint8Array)[] = [mark, caller === undefined ? "" : sessionField(caller), MAX_HISTORY];
  for (const { agentId, before, after, placement, history, holdersSeen } of changes) {
    const lists = listings(before && placement.before, placement.after);
    names.push(keys.agent(agentId), keys.history(agentId), keys.holders(agentId), ...lists.map(({ key }) => key));
    args.push(
      agentId,
      before ?? "",
      after,
      history?.entry ?? "",
      holdersSeen === undefined ? "any" : holdersSeen.map(seenLine).join(""),
      lists.length,
      ...lists.map(({ change }) => change),
    );
  }
  return scriptCall(names, args);
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

const HOST_PARTS = 6;

/** As read-hosts.lua gives them. */
function hostOf(parts: readonly Buffer[], at: number): StoredHost {
  const [hostId, version, info, draining, failures, live] = parts.slice(at, at + HOST_PARTS);
  const [count = "0", atMs = "0"] = String(failures).split(" ");
  return {
    hostId: String(hostId),
    version: Number(version),
    info: new Uint8Array(info ?? []),
    draining: String(draining) === "1",
    failures: Number(count),
    lastFailureAtMs: Number(atMs),
    live: String(live) === "1",
  };
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
