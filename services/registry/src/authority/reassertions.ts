// The service around `reassert`: in quarantine a host brings its session back, and item by item its agents (§9).
//
// GA-7  `reassert` is the only judge. What it decides is applied by compare-and-set on the whole record, together with the mark
//       and the session; when anything of that moved on, everything is read and decided anew. Grants are given anew.
// EI-7  A violation stops the agent, and is an error in the log: somebody has to act.
// GA-6  The session comes first, since bringing it back is what makes its items count.

import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import { type ReassertDecision, type ReassertItem, reassert, reassertSession } from "@godwit/common/lease";
import type { Logger } from "pino";
import type { MarkKeeper, Standing } from "../mark/mark-keeper.ts";
import type { RegistryMetrics } from "../metrics.ts";
import type { OpenedSession, Sessions } from "../sessions/sessions.ts";
import { placementOf } from "../store/placement.ts";
import { type AuthorityStore, type RecordChange, StepRefused } from "../store/registry-store.ts";
import type { CommandAnswer } from "./authority.ts";
import { crashPointOf, type RegistryCrashPoints } from "./crash-points.ts";
import { nextTurn } from "./evidence.ts";
import { historyOf } from "./history.ts";
import { readItem, type ShownReassertion } from "./reassert-items.ts";
import { decodeRecord, encodeRecord, type KnownRecord } from "./record-codec.ts";
import { signedRecord } from "./statements.ts";

export interface ReassertionsParts {
  readonly store: AuthorityStore;
  readonly sessions: Pick<Sessions, "reassert">;
  readonly keeper: MarkKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<RegistryMetrics, "commands" | "contention">;
  readonly crashPoints: RegistryCrashPoints;
}

export interface ReassertAnswer {
  readonly session: OpenedSession;
  /** One for each item, in order. */
  readonly results: readonly CommandAnswer[];
}

interface Pending {
  readonly index: number;
  readonly item: ReassertItem;
  readonly decision: ReassertDecision;
  readonly after: KnownRecord;
  readonly change: RecordChange;
}

/** How many agents one step reads, decides and writes, so that other calls get a turn in between. */
const STEP = 64;
/** How many signatures are verified before other calls get a turn. */
const VERIFIED_IN_A_ROW = 32;
/** A record that is fought over this often is left to the caller's own retry. */
const MAX_TRIES = 16;

export class Reassertions {
  readonly #parts: ReassertionsParts;

  constructor(parts: ReassertionsParts) {
    this.#parts = parts;
  }

  /**
   * Throws Fault STALE_INCARNATION, QUARANTINE_OVER, SESSION_VOID, INVALID_ARGUMENT, STORE_UNAVAILABLE (the outcome is unknown),
   * NOT_READY. What an item comes to is an answer.
   */
  async reassert(shown: ShownReassertion): Promise<ReassertAnswer> {
    const { keeper, sessions, crashPoints } = this.#parts;
    await keeper.show(shown.markSeen);
    return await keeper.underAny(async (standing) => {
      checkSession(shown, standing);
      const items = await readItems(shown, standing);
      try {
        const session = await sessions.reassert(standing, shown.session, shown.generation);
        const results = await this.#bringBack(standing, shown, items);
        crashPoints.reach(crashPointOf("reassert", "before-reply"));
        return { session, results };
      } catch (error) {
        if (error instanceof StepRefused && !error.inQuarantine)
          throw new Fault({ code: "QUARANTINE_OVER" }, { cause: error });
        throw error;
      }
    });
  }

  async #bringBack(
    standing: Standing,
    shown: ShownReassertion,
    items: readonly ReassertItem[],
  ): Promise<readonly CommandAnswer[]> {
    const answers: (CommandAnswer | undefined)[] = items.map(() => undefined);
    const tries = items.map(() => 0);
    let open = [...items.keys()];
    while (open.length > 0) {
      const step = firstOfEach(items, open);
      const done = new Map(await this.#step(standing, shown, { items, step }));
      for (const index of step) {
        const answer = done.get(index);
        answers[index] = answer;
        tries[index] = (tries[index] ?? 0) + 1;
        if (answer === undefined && tries[index] === MAX_TRIES) throw tooMuchContention(items[index]);
      }
      open = open.filter((index) => answers[index] === undefined);
    }
    return answers.flatMap((answer) => answer ?? []);
  }

  /** One read and one write for items of different agents; what is not in the result has to be decided anew. */
  async #step(
    standing: Standing,
    { session, from }: ShownReassertion,
    { items, step }: { readonly items: readonly ReassertItem[]; readonly step: readonly number[] },
  ): Promise<readonly (readonly [number, CommandAnswer])[]> {
    const { store, metrics, crashPoints, clock } = this.#parts;
    const { mark } = standing;
    const asked = step.flatMap((index) => {
      const item = items[index];
      return item === undefined ? [] : [{ index, item }];
    });
    const { agents } = await store.readAgents(mark.bytes, {
      agentIds: asked.map(({ item }) => item.agentId),
      withHolders: false,
    });
    const answers: (readonly [number, CommandAnswer])[] = [];
    const pending: Pending[] = [];
    for (const [at, { index, item }] of asked.entries()) {
      const stored = agents[at]?.record;
      const before = stored && decodeRecord(stored);
      const decision = reassert(before?.record, item, { mark, session, from });
      const written = decision.kind === "refused" ? decision.write : decision.kind !== "answered";
      if (!written || decision.record === undefined) {
        answers.push([index, this.#answer(item, decision, { record: before, incarnation: mark.incarnation })]);
        continue;
      }
      const now = clock.now();
      const sign = decision.kind === "rebuilt" ? decision.sign : undefined;
      const after = encodeRecord(signedRecord(decision.record, sign, { standing, at: now }));
      pending.push({ index, item, decision, after, change: changeOf({ before, after, decision, at: now }) });
    }
    if (pending.length === 0) return answers;

    crashPoints.reach(crashPointOf("reassert", "before-apply"));
    const changes = pending.map(({ change }) => change);
    const outcomes = await store.applyReasserted(mark.bytes, session, changes);
    crashPoints.reach(crashPointOf("reassert", "after-apply"));
    for (const [at, { index, item, decision, after }] of pending.entries()) {
      const outcome = outcomes[at];
      if (outcome === "caller-void") throw new Fault({ code: "SESSION_VOID", hostId: session.hostId });
      if (outcome !== "applied") {
        metrics.contention.inc();
        continue;
      }
      answers.push([index, this.#answer(item, decision, { record: after, incarnation: mark.incarnation })]);
    }
    return answers;
  }

  #answer(
    item: ReassertItem,
    decision: ReassertDecision,
    { record, incarnation }: { readonly record: KnownRecord | undefined; readonly incarnation: string },
  ): CommandAnswer {
    const { metrics, logger } = this.#parts;
    const refusal =
      decision.kind === "refused" ? decision.code : decision.kind === "violation" ? "DIVERGENT_LINEAGE" : undefined;
    metrics.commands.inc({ command: "reassert", outcome: refusal ?? "done" });
    if (decision.kind === "violation") {
      logger.error(
        { agentId: item.agentId, conflict: record?.message.conflict, item: item.kind },
        "what was reasserted contradicts the record: the agent stops until an operator decides",
      );
    }
    return { refusal, record, incarnation };
  }
}

/** The same answer that the store would give, before anything is verified or written. */
function checkSession({ incarnation, from, generation }: ShownReassertion, { mark }: Standing): void {
  if (incarnation !== mark.incarnation) throw new Fault({ code: "STALE_INCARNATION", current: mark.incarnation });
  const outcome = reassertSession(undefined, { generation, from }, mark);
  if (outcome.kind === "brought-over") return;
  if (outcome.code === "QUARANTINE_OVER") throw new Fault({ code: "QUARANTINE_OVER" });
  throw new Fault({
    code: "INVALID_ARGUMENT",
    field: "reassertion.from_incarnation",
    reason: "it is the present one: name the incarnation from which the session comes",
  });
}

async function readItems({ items }: ShownReassertion, { signer }: Standing): Promise<readonly ReassertItem[]> {
  const read: ReassertItem[] = [];
  for (const item of items) {
    if (read.length > 0 && read.length % VERIFIED_IN_A_ROW === 0) await nextTurn();
    read.push(readItem(item, signer.publicKey));
  }
  return read;
}

/** The first open item of each agent, as many as fit into a step: what is of one agent depends on what came before. */
function firstOfEach(items: readonly ReassertItem[], open: readonly number[]): readonly number[] {
  const agents = new Set<string>();
  const step: number[] = [];
  for (const index of open) {
    const agentId = items[index]?.agentId;
    if (agentId === undefined || agents.has(agentId)) continue;
    agents.add(agentId);
    step.push(index);
    if (step.length === STEP) break;
  }
  return step;
}

function changeOf({
  before,
  after,
  decision,
  at,
}: {
  readonly before: KnownRecord | undefined;
  readonly after: KnownRecord;
  readonly decision: ReassertDecision;
  readonly at: Date;
}): RecordChange {
  return {
    agentId: after.record.agentId,
    before: before?.bytes,
    after: after.bytes,
    placement: { before: placementOf(before?.record), after: placementOf(after.record) },
    history: historyOf({
      command: { kind: "reassert", violation: decision.kind === "violation" },
      before: before?.record,
      after: after.record,
      at,
    }),
    holdersSeen: undefined,
  };
}

function tooMuchContention(item: ReassertItem | undefined): Fault {
  const reason = `the record of agent ${item?.agentId ?? "?"} changed ${MAX_TRIES} times while it was decided on`;
  return new Fault({ code: "STORE_UNAVAILABLE", reason });
}
