// The registry as one atomic step per request, on the production `decide`. Mirrors services/registry/src/authority (facts in,
// compare-and-set out), sessions and offers.

import {
  type AuthorityRecord,
  type CheckpointRef,
  type Command,
  compareCheckpoints,
  compareTerms,
  type Facts,
  type ForceRecover,
  isToBeTakenUp,
  type ReassertDecision,
  type ReassertRefusal,
  type SessionId,
} from "@godwit/common/lease";
import type { Reading } from "../../judge.ts";
import type { Digests } from "./digests.ts";
import type { Rules } from "./rules.ts";
import {
  type Answer,
  firstIncarnation,
  type GhostEvent,
  type Message,
  type Session,
  type Store,
  sessionName,
  signed,
  type Token,
} from "./world.ts";

export interface Served {
  readonly store: Store;
  readonly answer: Answer;
  /** For the coverage table. */
  readonly row: string;
  /** A sentence of §9 that the command came through. */
  readonly also?: string | undefined;
  readonly ghost: readonly GhostEvent[];
  readonly violation: string | undefined;
}

export function serve(
  rules: Rules,
  digests: Digests,
  store: Store,
  { command }: { readonly command: Command | ForceRecover },
  given: Partial<Facts> = {},
): Served {
  const { mark, record } = store;
  if (mark === undefined) throw new Error("nothing is served without a mark");
  const token = command.kind === "claim" ? (command.token as Token) : undefined;
  const facts: Facts = {
    mark,
    caller: command.kind === "force_recover" ? "unknown" : callerStanding(store, command.caller),
    ownerVoid: record?.owner !== undefined && isVoid(store, record.owner),
    announced: announced(store),
    genesisMatches: true,
    tokenSignedByOwner: token !== undefined && token.sourceHostId === record?.owner?.hostId,
    spine:
      command.kind === "recover" || command.kind === "force_recover" ? digests.spineFacts(command.head) : undefined,
    ...given,
  };
  const decision = rules.decide(record, command, facts);
  switch (decision.kind) {
    case "repeated":
      return {
        store,
        answer: { kind: "applied", record: decision.record },
        row: `${command.kind} repeated`,
        ghost: [],
        violation: undefined,
      };
    case "refused":
      return {
        store: decision.write ? { ...store, record: decision.record } : store,
        answer: { kind: "refused", code: decision.code, record: decision.record },
        row: `${command.kind} ${decision.code}`,
        ghost: [],
        violation: decision.write ? "EI-11: two checkpoints of one major and tick were committed" : undefined,
      };
    case "applied": {
      const next: AuthorityRecord = {
        ...decision.record,
        ...(decision.sign === "grant" ? { grant: signed } : {}),
        ...(decision.sign === "termination" ? { terminated: signed } : {}),
      };
      const { era, major, owner, unconfirmed, bases } = next;
      const base = unconfirmed ?? bases[0]?.startedFrom;
      const granted: readonly GhostEvent[] =
        decision.sign === "grant" && owner !== undefined && base !== undefined
          ? [{ kind: "granted", era, major, session: sessionName(owner), base, by: command.kind }]
          : [];
      return {
        store: { ...store, record: next },
        answer: { kind: "applied", record: next },
        row: `${command.kind} applied`,
        also: sentenceOf(record, next),
        ghost: granted,
        violation: headMoved(rules, digests, record, next),
      };
    }
  }
}

/** GA-9, as far as a step shows it. */
function sentenceOf(before: AuthorityRecord | undefined, after: AuthorityRecord): string | undefined {
  if (before?.afterLoss !== undefined && after.afterLoss === undefined && after.unconfirmed === undefined) {
    return after.owner === undefined ? "GA-9 a forced recovery after a loss" : "GA-9 a confirmed base brings its spine";
  }
  if (after.era === 0n || (before !== undefined && before.incarnation === after.incarnation)) return undefined;
  if (after.owner === undefined) return "GA-9 a forced recovery after a loss";
  return before === undefined
    ? "GA-9 recovered in a new era: no record"
    : "GA-9 recovered in a new era: nobody confirmed the record";
}

/** EI-3: what was acknowledged as head stays on the chain, or is an orphan by the walk. */
function headMoved(
  rules: Rules,
  digests: Digests,
  before: AuthorityRecord | undefined,
  after: AuthorityRecord,
): string | undefined {
  // A recovery after a loss says nothing of the chain before its base is confirmed (GA-9).
  if (before === undefined || after.afterLoss !== undefined) return undefined;
  const kept = digests.descends(after.head, before.head);
  const standing = rules.standing(after.bases, after.head, before.head, after);
  // What an operator's choice is not made from by name counts as given up (§4).
  if (after.forced !== undefined && compareTerms(before.head, after.forced) < 0) {
    return standing === "divergent" ? "EI-3: what an operator gave up is a conflict again" : undefined;
  }
  if (kept && standing !== "on-lineage") return `EI-3: the former head is on the chain and the walk says ${standing}`;
  if (!kept && standing !== "orphan") return `EI-3: the former head is not on the chain and the walk says ${standing}`;
  return undefined;
}

export function isVoid({ sessions, mark }: Store, session: SessionId): boolean {
  const stored = sessions[sessionName(session)];
  return stored === undefined || stored.closed || stored.incarnation !== mark?.incarnation;
}

function callerStanding({ sessions, mark }: Store, caller: SessionId): Facts["caller"] {
  const stored = sessions[sessionName(caller)];
  if (stored === undefined || stored.incarnation !== mark?.incarnation) return "unknown";
  return stored.closed ? "void" : "open";
}

/** An announcement counts while its session lives. */
export function announced(store: Store): readonly CheckpointRef[] {
  return Object.entries(store.holders)
    .filter(([name]) => {
      const stored = store.sessions[name];
      return stored !== undefined && !stored.closed && stored.incarnation === store.mark?.incarnation;
    })
    .map(([, ref]) => ref)
    .sort((a, b) => compareCheckpoints(b, a));
}

export function isServing({ mark, identity }: Store): boolean {
  return mark !== undefined && mark.storeIdentity === identity;
}

/** GA-7: what a host brings back, on the production `reassert`. The session was brought over before. */
export function serveReassert(
  rules: Rules,
  store: Store,
  { item, session, incarnation, under }: Extract<Message, { kind: "reassert" }>,
): {
  readonly store: Store;
  readonly decision: ReassertDecision;
  readonly row: string;
  readonly ghost: readonly GhostEvent[];
  readonly violation: string | undefined;
} {
  const { mark, record } = store;
  if (mark === undefined) throw new Error("nothing is served without a mark");
  const refused = (code: ReassertRefusal, row: string) => ({
    store,
    decision: { kind: "refused", code, record, write: false } as const,
    row,
    ghost: [],
    violation: undefined,
  });
  if (under !== mark.incarnation) return refused("STALE_INCARNATION", "GA-6 what names another incarnation is refused");
  if (callerStanding(store, session) !== "open")
    return refused("NOT_OWNER", "GA-7 a reassert of a session that is void");
  const decision = rules.reassert(record, item, { mark, session, from: incarnation });
  const { kind } = decision;
  const found =
    record === undefined
      ? "no record"
      : compareTerms(record, item.grant ?? record) < 0
        ? "a lower major"
        : "the same major";
  if (kind !== "rebuilt") {
    const next =
      kind === "violation" || (kind === "refused" && decision.write) ? { ...store, record: decision.record } : store;
    const row = kind === "refused" ? `GA-7 refused (${decision.code})` : `GA-7 ${kind}`;
    const violation = kind === "violation" ? "EI-7: a reassert shows that a major was given twice" : undefined;
    return { store: next, decision, row, ghost: [], violation };
  }
  const next: AuthorityRecord = { ...decision.record, grant: signed };
  const { era, major, owner, unconfirmed, bases } = next;
  const base = unconfirmed ?? bases[0]?.startedFrom;
  const ghost: readonly GhostEvent[] =
    owner === undefined || base === undefined
      ? []
      : [{ kind: "granted", era, major, session: sessionName(owner), base, by: "reassert" }];
  return {
    store: { ...store, record: next },
    decision: { ...decision, record: next },
    row: `GA-7 rebuilt: ${found}`,
    ghost,
    violation: undefined,
  };
}

/** What a host's `read` gives. */
export function readingOf(store: Store): Reading {
  if (!isServing(store) || store.mark?.quarantine) return { kind: "unreachable", cause: undefined };
  const { record } = store;
  if (record === undefined) return { kind: "no-record" };
  return { kind: "record", record, ownerVoid: record.owner !== undefined && isVoid(store, record.owner) };
}

/** §8: whether the registry offers the agent to holders now. */
export function isOffered(store: Store): boolean {
  const reading = readingOf(store);
  if (reading.kind !== "record") return false;
  const { record, ownerVoid } = reading;
  if (record.terminated !== undefined || record.conflict !== undefined) return false;
  if (record.incarnation !== store.mark?.incarnation) return false; // GA-9: its holders look by themselves
  if (record.state === "RETIRED") return record.reason !== undefined && isToBeTakenUp(record.reason);
  return ownerVoid;
}

/** Released, and nobody takes it up before somebody asks. */
export function waitsToBeAsked({ record }: Store): boolean {
  if (record === undefined || record.terminated !== undefined) return false;
  return record.state === "RETIRED" && !(record.reason !== undefined && isToBeTakenUp(record.reason));
}

export function withSession(store: Store, name: string, incarnation: string): Store {
  return { ...store, sessions: { ...store.sessions, [name]: { incarnation, closed: false } } };
}

export function withClosed(store: Store, name: string): Store {
  const stored = store.sessions[name];
  if (stored === undefined || stored.closed) return store;
  const { [name]: _, ...holders } = store.holders;
  return { ...store, sessions: { ...store.sessions, [name]: { ...stored, closed: true } }, holders };
}

export function withAnnounced(store: Store, name: string, ref: CheckpointRef | undefined): Store {
  const { [name]: before, ...others } = store.holders;
  if (ref === undefined) return before === undefined ? store : { ...store, holders: others };
  if (before?.digest === ref.digest) return store;
  return { ...store, holders: { ...others, [name]: ref } };
}

/** GA-9: quarantine is over, and nobody has confirmed the record, or there is none though there are checkpoints. */
export function isLost(store: Store): boolean {
  if (!isServing(store) || store.mark?.quarantine || store.mark?.incarnation === firstIncarnation) return false;
  return (
    store.record === undefined ||
    (store.record.incarnation !== store.mark?.incarnation && store.record.terminated === undefined)
  );
}

/** How a session stands with the store, as a renewal finds it. */
export function standingOfSession(store: Store, name: string, { incarnation }: Session): "open" | "void" | "moved-on" {
  if (store.mark?.incarnation !== incarnation) return "moved-on";
  const stored = store.sessions[name];
  return stored === undefined || stored.closed || stored.incarnation !== incarnation ? "void" : "open";
}
