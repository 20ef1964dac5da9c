// Whether an agent's last ticks, run again here, lead to what its checkpoints say (T-45): before PREPARED those up to its newest
// checkpoint, and after the freeze the rest.
//
// V-1  It begins at a checkpoint that the agent's lineage goes through: signed, of this agent, and each after it names the one before.
//      What the peer says of a state counts for nothing: the digest is in the signed header.
// V-2  The events are those that the owner has signed the digest of, and leave out no tick that cost anything.
// V-3  What came out differently is fatal for this target; what could not be finished in time may be tried again.

import { Fault, isFault } from "@godwit/common/fault";
import { sameCheckpoint } from "@godwit/common/lease";
import { ClassifiedFault } from "@godwit/common/retry";
import { digestOf, type Header, isFunding, type VerifiedHeader, verifyHeader } from "@godwit/lineage";
import type { ReplayRecord } from "@godwit/migration";
import { decodeEventLog, type RecordedTick, type ReplayedTicks, type ReplayResult } from "@godwit/sandbox";
import type { HandoffTerms } from "./verify-handoff.ts";

/** Where a replay has got to: a checkpoint, and the state that was worked out for it. */
export interface Replayed {
  readonly at: VerifiedHeader;
  readonly state: Uint8Array;
}

type Run = (work: ReplayedTicks) => Promise<ReplayResult>;

/** What came ahead of PREPARED. `spine`: verified, newest first. Throws Fault REPLAY_MISSING, REPLAY_DIVERGED, REPLAY_UNFINISHED. */
export async function replayWindow(
  record: ReplayRecord | undefined,
  spine: readonly VerifiedHeader[],
  terms: HandoffTerms,
  run: Run,
): Promise<Replayed> {
  const { agentId } = terms.offer;
  const [first, ...rest] = record?.headers ?? [];
  if (record === undefined || first === undefined) throw missing(agentId, "nothing of it came");
  const beginning = verified(first, terms);
  if (digestOf(record.state) !== beginning.header.stateDigest) throw missing(agentId, "its state is another one");
  const steps = stepsOf(record, rest, beginning, terms);
  const newest = steps.at(-1)?.to ?? beginning;
  if (!standsOn(newest, spine)) throw missing(agentId, "it is not of the lineage that was shown");
  return await replay({ at: beginning, state: record.state }, steps, agentId, run);
}

/** What came after it, up to the checkpoint that the agent was frozen as. */
export async function replayTail(
  record: ReplayRecord | undefined,
  from: Replayed,
  frozen: VerifiedHeader,
  terms: HandoffTerms,
  run: Run,
): Promise<void> {
  const { agentId } = terms.offer;
  if (sameCheckpoint(frozen.ref, from.at.ref)) return;
  if (record === undefined) throw missing(agentId, "its final ticks did not come");
  const steps = stepsOf(record, [...record.headers, frozen.signed], from.at, terms);
  await replay(from, steps, agentId, run);
}

interface ReplayStep {
  readonly to: VerifiedHeader;
  readonly ticks: readonly RecordedTick[];
}

/** V-1, V-2 */
function stepsOf(
  { eventLogs }: ReplayRecord,
  headers: readonly { readonly payload: Uint8Array; readonly signature: Uint8Array }[],
  beginning: VerifiedHeader,
  terms: HandoffTerms,
): readonly ReplayStep[] {
  const { agentId } = terms.offer;
  if (eventLogs.length !== headers.length) throw missing(agentId, "there is not one event log for each checkpoint");
  let before = beginning;
  return headers.map((signed, index) => {
    const to = verified(signed, terms);
    const log = eventLogs[index] ?? new Uint8Array(0);
    if (to.header.previous !== before.digest) throw missing(agentId, "its checkpoints do not follow each other");
    if (to.header.eventsDigest !== digestOf(log)) throw missing(agentId, "an event log is not the one that was signed");
    const ticks = ticksOf(log, agentId);
    const problem = ticksProblem(ticks, before.header, to.header);
    if (problem !== undefined) throw missing(agentId, problem);
    before = to;
    return { to, ticks };
  });
}

function ticksProblem(ticks: readonly RecordedTick[], before: Header, to: Header): string | undefined {
  if (ticks.some(({ tick }) => tick <= before.tick || tick > to.tick)) return "it has ticks of another time";
  // What changes an agent without running it takes a number, too, and is in no log: fundings, and an exhaustion, which leaves nothing.
  const idle = to.receipts.filter((receipt) => isFunding(receipt) || receipt.budgetAfter === 0n).length;
  const left = to.tick - before.tick - BigInt(ticks.length);
  return left > BigInt(idle) ? "it leaves ticks out" : undefined;
}

async function replay(from: Replayed, steps: readonly ReplayStep[], agentId: string, run: Run): Promise<Replayed> {
  let { at, state } = from;
  for (const { to, ticks } of steps) {
    const result = await run({ state, ticks });
    if (result.kind === "failed") {
      const reason = `tick ${result.tick}: ${result.message}`;
      throw new ClassifiedFault("retriable", { code: "REPLAY_UNFINISHED", agentId, reason }); // V-3
    }
    if (result.kind === "diverged") {
      throw new Fault({ code: "REPLAY_DIVERGED", agentId, tick: result.tick, reason: result.reason });
    }
    if (digestOf(result.state) !== to.header.stateDigest) {
      const reason = "its state came out differently";
      throw new Fault({ code: "REPLAY_DIVERGED", agentId, tick: to.header.tick, reason });
    }
    ({ state } = result);
    at = to;
  }
  return { at, state };
}

/** Of the owner's major, on the spine's newest; or that one itself, before the owner has a checkpoint of its own. */
function standsOn({ header, ref }: VerifiedHeader, spine: readonly VerifiedHeader[]): boolean {
  const [newest] = spine;
  if (newest === undefined) return header.tick === 0n;
  return sameCheckpoint(newest.ref, ref) || (header.base !== undefined && sameCheckpoint(newest.ref, header.base));
}

function verified(signed: VerifiedHeader["signed"], { offer, registryKey }: HandoffTerms): VerifiedHeader {
  const header = verifyHeader(signed, registryKey);
  const { agentId, moduleDigest, manifestDigest } = header.header;
  const ours =
    agentId === offer.agentId && moduleDigest === offer.moduleDigest && manifestDigest === digestOf(offer.manifest);
  if (!ours) throw missing(offer.agentId, "it is of another agent, or of another module");
  return header;
}

function ticksOf(log: Uint8Array, agentId: string): readonly RecordedTick[] {
  try {
    return decodeEventLog(log);
  } catch (cause) {
    if (isFault(cause, "EVENT_LOG_INVALID")) throw missing(agentId, cause.detail.reason);
    throw cause;
  }
}

function missing(agentId: string, reason: string): Fault {
  return new Fault({ code: "REPLAY_MISSING", agentId, reason });
}
