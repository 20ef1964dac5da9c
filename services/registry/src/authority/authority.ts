// The service around `decide`: reads the facts, lets it decide, signs what it orders, and applies the result.
//
// §4     `decide` is the only judge. Its result is applied by compare-and-set on the whole record, together with the mark
//        and the caller's session; when anything of that moved on, everything is read and decided anew. The first time it
//        may decide on what this replica remembers (remembered.ts): then only a change counts, and never a refusal.
// EI-11  A head is verified before anything that depends on it is written; for a report, only when it would confirm a base
//        or write a conflict, since ten thousand agents report every few seconds.
// GA-6   A command that names a revision above the stored one shows that the store forgot: a new mark is written, and the
//        caller hears of that incarnation. An operator's command proves nothing of the kind: it only names what was typed.
// GA-9   A spine is verified where the answer depends on it: after a loss of the store, and for an operator's choice.
// GA-6   A refusal for the mark is an answer like every other refusal; the store not answering is not: the outcome is unknown.

import type { Clock } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import {
  type AuthorityRecord,
  type Command,
  type Decision,
  decide,
  type Facts,
  type ForceRecover,
  lossOf,
  type RefusalCode,
  type SignedBytes,
  sameSession,
} from "@godwit/common/lease";
import type { Mark } from "../mark/mark.ts";
import type { MarkKeeper, Standing } from "../mark/mark-keeper.ts";
import type { RegistryMetrics } from "../metrics.ts";
import type { Caller } from "../sessions/caller.ts";
import { callerStanding, isVoid } from "../sessions/void.ts";
import { placementOf } from "../store/placement.ts";
import type { AgentRead, AuthorityStore, RecordChange, SessionStore, StoredSession } from "../store/registry-store.ts";
import { crashPointOf, type RegistryCrashPoints } from "./crash-points.ts";
import { isSignedByOwner, type ShownHead, verifyShown, verifyShownSpine } from "./evidence.ts";
import { historyOf } from "./history.ts";
import { decodeRecord, encodeRecord, type KnownRecord } from "./record-codec.ts";
import { Remembered } from "./remembered.ts";
import { signedRecord } from "./statements.ts";

export interface AuthorityParts {
  readonly store: AuthorityStore & SessionStore;
  readonly keeper: MarkKeeper;
  readonly clock: Clock;
  readonly metrics: RegistryMetrics;
  readonly crashPoints: RegistryCrashPoints;
  /** Told of an agent that may be offered from now on. */
  readonly onOfferable: (agentId: string) => void;
}

/** A command, and what it shows besides. */
export interface CommandRequest {
  readonly command: Command | ForceRecover;
  /** Of the caller's session; an operator's command has none. */
  readonly secret?: Uint8Array | undefined;
  readonly head?: ShownHead | undefined;
  /** The headers under the head, base by base down to tick 0. */
  readonly spine?: readonly SignedBytes[] | undefined;
  readonly token?: SignedBytes | undefined;
  /** Only for `acquire`: the genesis that it shows hashes to the agent's id. */
  readonly genesisMatches?: boolean;
}

export interface CommandAnswer {
  readonly refusal: RefusalCode | undefined;
  /** Of a checkpoint in a batch that does not verify: said in the place of the refusal's own sentence. */
  readonly problem?: string | undefined;
  readonly record: KnownRecord | undefined;
  /** That answered; empty when it is not known. */
  readonly incarnation: string;
}

/** What one read gave for one command, and what followed from it. */
interface Attempt {
  readonly index: number;
  readonly request: CommandRequest;
  readonly read: AgentRead;
  readonly before: KnownRecord | undefined;
  readonly decision: Decision;
}

interface Pending {
  readonly attempt: Attempt;
  readonly after: KnownRecord;
  readonly change: RecordChange;
}

/** A record that is fought over this often is left to the caller's own retry. */
const MAX_TRIES = 16;

/** How many records one step of a batch reads, so that other calls get a turn in between. */
const BATCH_STEP = 64;

export class Authority {
  readonly #parts: AuthorityParts;
  readonly #remembered = new Remembered();

  constructor(parts: AuthorityParts) {
    this.#parts = parts;
  }

  /** Throws Fault CHECKPOINT_INVALID, STORE_UNAVAILABLE (the outcome is unknown), NOT_READY. Refusals are answers. */
  async execute(request: CommandRequest): Promise<CommandAnswer> {
    const { clock, metrics, crashPoints } = this.#parts;
    const { kind } = request.command;
    const startedMs = clock.monotonicMs();
    const [answer] = await this.#run(callerOf(request), [request], { faultsAreAnswers: false });
    if (answer === undefined) throw new Error("a command was not answered");
    crashPoints.reach(crashPointOf(kind, "before-reply"));
    metrics.commandSeconds.observe({ command: kind }, (clock.monotonicMs() - startedMs) / 1_000);
    return answer;
  }

  /** `report_head` of many agents of one caller; one answer each, in order. */
  async reportHeads(caller: Caller, requests: readonly CommandRequest[]): Promise<readonly CommandAnswer[]> {
    const answers: CommandAnswer[] = [];
    for (let from = 0; from < requests.length; from += BATCH_STEP) {
      const step = requests.slice(from, from + BATCH_STEP);
      answers.push(...(await this.#run(caller, step, { faultsAreAnswers: true })));
    }
    this.#parts.crashPoints.reach(crashPointOf("report_head", "before-reply"));
    return answers;
  }

  async #run(
    caller: Caller | undefined,
    requests: readonly CommandRequest[],
    rules: { readonly faultsAreAnswers: boolean },
  ): Promise<readonly CommandAnswer[]> {
    try {
      return await this.#parts.keeper.under((standing) => this.#decideAll(standing, caller, requests, rules));
    } catch (error) {
      if (!isFault(error, "QUARANTINE")) throw error;
      return requests.map(() => ({
        refusal: "QUARANTINE",
        problem: error.message,
        record: undefined,
        incarnation: "",
      }));
    }
  }

  async #decideAll(
    standing: Standing,
    caller: Caller | undefined,
    requests: readonly CommandRequest[],
    { faultsAreAnswers }: { readonly faultsAreAnswers: boolean },
  ): Promise<readonly CommandAnswer[]> {
    const { store, metrics } = this.#parts;
    const { incarnation } = standing.mark;
    const answers: (CommandAnswer | undefined)[] = requests.map(() => undefined);
    let open = [...requests.keys()];

    for (let tries = 0; open.length > 0 && tries < MAX_TRIES; tries++) {
      const pending: Pending[] = [];
      const undecided: number[] = [];
      const remembered = tries === 0 ? this.#recall(standing, caller, requests) : undefined;
      const attempts = remembered ?? (await this.#attempts(standing, caller, requests, open));
      for (const attempt of attempts) {
        const { index, decision } = attempt;
        if (remembered !== undefined && decision.kind !== "applied") {
          undecided.push(index);
          continue;
        }
        try {
          const next = this.#prepare(standing, attempt);
          if (next !== undefined) pending.push(next);
          else if (remembered !== undefined) undecided.push(index);
          else answers[index] = this.#answer(attempt, incarnation);
        } catch (error) {
          if (!isFault(error, "CHECKPOINT_INVALID")) throw error;
          if (remembered !== undefined) {
            undecided.push(index);
            continue;
          }
          if (!faultsAreAnswers) throw error;
          const record = "record" in decision ? attempt.before : undefined;
          answers[index] = { refusal: "STALE_CHECKPOINT", problem: error.message, record, incarnation };
        }
      }
      open = undecided;
      if (pending.length === 0) continue;

      this.#reach(pending, "before-apply");
      const outcomes = await store.apply(
        standing.mark.bytes,
        caller?.session,
        pending.map(({ change }) => change),
      );
      this.#reach(pending, "after-apply");
      for (const [at, { attempt, after }] of pending.entries()) {
        if (outcomes[at] !== "applied") {
          if (remembered === undefined) metrics.contention.inc();
          open.push(attempt.index);
          continue;
        }
        this.#remembered.keepRecord(standing.mark, after);
        answers[attempt.index] = this.#applied(attempt, after, incarnation);
      }
    }
    return answers.map((answer, index) => answer ?? this.#tooMuchContention(requests[index]));
  }

  /** Decides on what is remembered; undefined where that is not enough, and has to be read. */
  #recall(
    { mark }: Standing,
    caller: Caller | undefined,
    requests: readonly CommandRequest[],
  ): readonly Attempt[] | undefined {
    const session = caller && this.#remembered.session(mark, caller.session);
    if (caller === undefined || session === undefined) return undefined;
    const callerIs = callerStanding(session, caller.secret, mark.incarnation);
    const attempts: Attempt[] = [];
    for (const [index, request] of requests.entries()) {
      const { command, token } = request;
      const before = this.#remembered.record(mark, command.agentId);
      // Who recovers depends on other sessions too, which no step compares.
      if (before === undefined || command.kind === "recover" || command.kind === "force_recover") return undefined;
      const facts: Facts = {
        mark,
        caller: callerIs,
        ownerVoid: false,
        announced: [],
        genesisMatches: request.genesisMatches ?? false,
        tokenSignedByOwner: token !== undefined && isSignedByOwner(token, before.record.owner),
        spine: undefined,
      };
      const read = { record: before.bytes, holders: [] };
      attempts.push({ index, request, read, before, decision: decide(before.record, command, facts) });
    }
    return attempts;
  }

  /** Reads what is needed for these commands, and decides. */
  async #attempts(
    standing: Standing,
    caller: Caller | undefined,
    requests: readonly CommandRequest[],
    open: readonly number[],
  ): Promise<readonly Attempt[]> {
    const { store } = this.#parts;
    const { mark } = standing;
    const asked = open.flatMap((index) => {
      const request = requests[index];
      return request === undefined ? [] : [{ index, request }];
    });
    const read = await store.readAgents(mark.bytes, {
      caller: caller?.session,
      agentIds: asked.map(({ request }) => request.command.agentId),
      withHolders: asked.some(({ request }) => request.command.kind === "recover"),
    });
    const standingOfCaller = caller ? callerStanding(read.caller, caller.secret, mark.incarnation) : "unknown";
    if (read.caller !== undefined) this.#remembered.keepSession(mark, read.caller);
    const attempts: Attempt[] = [];
    for (const [at, { index, request }] of asked.entries()) {
      const agent = read.agents[at] ?? { record: undefined, holders: [] };
      const before = agent.record && decodeRecord(agent.record);
      if (before !== undefined) this.#remembered.keepRecord(mark, before);
      if (standingOfCaller === "open") await this.#checkMemory(mark, request.command, before?.record);
      const facts: Facts = {
        mark,
        caller: standingOfCaller,
        ownerVoid: await this.#ownerVoid(mark, request.command, before?.record),
        announced: agent.holders.map(({ checkpoint }) => checkpoint),
        genesisMatches: request.genesisMatches ?? false,
        tokenSignedByOwner: request.token !== undefined && isSignedByOwner(request.token, before?.record.owner),
        spine: await this.#spine(standing, request, before?.record),
      };
      attempts.push({ index, request, read: agent, before, decision: decide(before?.record, request.command, facts) });
    }
    return attempts;
  }

  /** GA-6: the caller has read a revision that the store does not know. An agent that was never there proves nothing. */
  async #checkMemory(
    mark: Mark,
    command: CommandRequest["command"],
    record: AuthorityRecord | undefined,
  ): Promise<void> {
    if (record === undefined || !("revision" in command) || command.incarnation !== mark.incarnation) return;
    if (command.revision <= record.revision) return;
    await this.#parts.keeper.forgot(mark, {
      agentId: command.agentId,
      namedRevision: String(command.revision),
      storedRevision: String(record.revision),
    });
  }

  async #spine(
    { mark, signer }: Standing,
    { command, head, spine }: CommandRequest,
    record: AuthorityRecord | undefined,
  ): Promise<Facts["spine"]> {
    if (head === undefined || spine === undefined || command.incarnation !== mark.incarnation) return undefined;
    const matters = command.kind === "force_recover" || lossOf(record, mark) !== undefined;
    return matters ? await verifyShownSpine(head, spine, signer.publicKey) : undefined;
  }

  /** Looked up only where it matters. Void is for ever, so this needs no part in the atomic step (SL-2). */
  async #ownerVoid(
    mark: Mark,
    command: CommandRequest["command"],
    record: AuthorityRecord | undefined,
  ): Promise<boolean> {
    if (record === undefined || (command.kind !== "recover" && command.kind !== "force_recover")) return false;
    if (command.kind === "recover" && sameSession(record.owner, command.caller)) return false;
    if (record.owner === undefined) return true;
    const [owner]: readonly (StoredSession | undefined)[] = await this.#parts.store.readSessions(mark.bytes, [
      record.owner,
    ]);
    return isVoid(owner, mark.incarnation);
  }

  /** The change to apply; undefined when nothing is written. */
  #prepare(standing: Standing, attempt: Attempt): Pending | undefined {
    const { decision, request, read, before } = attempt;
    const { command } = request;
    const written = decision.kind === "applied" || (decision.kind === "refused" && decision.write);
    if (!written || decision.record === undefined || decision.record === before?.record) return undefined;
    if (this.#mustVerify(attempt) && request.head !== undefined) {
      verifyShown(request.head, standing.signer.publicKey);
    }
    const sign = decision.kind === "applied" ? decision.sign : undefined;
    if (isSameHead(before?.record, decision.record)) return undefined;

    const record = signedRecord(decision.record, sign, { standing, at: this.#parts.clock.now() });
    const after = encodeRecord(record);
    return {
      attempt,
      after,
      change: {
        agentId: command.agentId,
        before: before?.bytes,
        after: after.bytes,
        placement: { before: placementOf(before?.record), after: placementOf(record) },
        history: historyOf({ command, before: before?.record, after: record, at: this.#parts.clock.now() }),
        // An announcement that comes in between may make the head unacceptable.
        holdersSeen: command.kind === "recover" ? read.holders : undefined,
      },
    };
  }

  #mustVerify({ request, before, decision }: Attempt): boolean {
    if (request.command.kind !== "report_head") return true;
    return decision.kind === "refused" || before?.record.unconfirmed !== undefined;
  }

  /** Where nothing was written. */
  #answer({ request, before, decision }: Attempt, incarnation: string): CommandAnswer {
    const refusal = decision.kind === "refused" ? decision.code : undefined;
    const outcome = refusal ?? (decision.kind === "repeated" ? "repeated" : "done");
    this.#parts.metrics.commands.inc({ command: request.command.kind, outcome });
    return { refusal, record: before, incarnation };
  }

  #applied({ request, decision }: Attempt, after: KnownRecord, incarnation: string): CommandAnswer {
    const { metrics, onOfferable } = this.#parts;
    const refusal = decision.kind === "refused" ? decision.code : undefined;
    metrics.commands.inc({ command: request.command.kind, outcome: refusal ?? "done" });
    if (placementOf(after.record).offeredNow) onOfferable(after.record.agentId);
    return { refusal, record: after, incarnation };
  }

  #reach([first]: readonly Pending[], moment: "before-apply" | "after-apply"): void {
    if (first !== undefined) this.#parts.crashPoints.reach(crashPointOf(first.attempt.request.command.kind, moment));
  }

  #tooMuchContention(request: CommandRequest | undefined): never {
    const agentId = request?.command.agentId ?? "?";
    const reason = `the record of agent ${agentId} changed ${MAX_TRIES} times while it was decided on`;
    throw new Fault({ code: "STORE_UNAVAILABLE", reason });
  }
}

function callerOf({ command, secret }: CommandRequest): Caller | undefined {
  if (command.kind === "force_recover") return undefined;
  if (secret === undefined) throw new Error(`a ${command.kind} without the secret of its session`);
  return { session: command.caller, secret };
}

/** A report of what is known already changes nothing. */
function isSameHead(before: AuthorityRecord | undefined, after: AuthorityRecord): boolean {
  return before !== undefined && before.revision === after.revision && before.head.digest === after.head.digest;
}
