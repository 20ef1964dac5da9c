// An operator's word about which checkpoint an agent goes on from, where the registry cannot know (protocol §4, force_recover).
//
// The choice is shown with its whole spine, put together from what the hosts hold; the registry verifies both.

import { randomUUID } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { Fault, isFault } from "@godwit/common/fault";
import { type CheckpointRef, compareCheckpoints, type SignedBytes } from "@godwit/common/lease";
import { digestOf, readHeader, toProtoSigned } from "@godwit/lineage";
import { RefusalCode, RefusalCodeSchema } from "@godwit/proto/godwit/registry/v1/authority";
import { MarkSchema } from "@godwit/proto/godwit/registry/v1/session";
import type { Session } from "../session.ts";
import { type Host, listHosts } from "./hosts.ts";
import { type Copy, fetchCopy } from "./lineage.ts";
import { type FoundAgent, findAgent } from "./records.ts";

export interface Choice {
  /** An agent's name or id; one without a record only by its whole id. */
  readonly agent: string;
  /** Whose copies to choose from, and who is to recover the agent; `undefined`: every live host's. */
  readonly on: Host | undefined;
  /** The beginning of the checkpoint's digest; `undefined`: the newest that is held. */
  readonly checkpoint: string | undefined;
  /** For the agent's history. */
  readonly operator: string;
  readonly reason: string;
}

export interface Chosen {
  readonly agentId: string;
  readonly head: CheckpointRef;
  /** A live host that holds it, to recover the agent. */
  readonly host: Host;
  readonly era: bigint;
  readonly major: bigint;
}

/**
 * Faults: AGENT_UNKNOWN, AMBIGUOUS_ID, NO_CANDIDATE when nobody holds a checkpoint, INVALID_ARGUMENT when it has to be said which,
 * LINEAGE_INVALID when nobody has all of its spine, FORCE_REFUSED with the registry's reason.
 */
export async function forceRecover(session: Session, choice: Choice): Promise<Chosen> {
  const found = await findForced(session, choice.agent);
  const agentId = found?.record.agentId ?? choice.agent;
  const sources = choice.on === undefined ? (await listHosts(session)).filter(({ live }) => live) : [choice.on];
  const copies = await fetchAll(session, sources, { agentId, mustAnswer: choice.on !== undefined });
  const headers = new Map(
    copies.flatMap(({ copy }) => copy.headers).map((signed) => [digestOf(signed.payload), signed]),
  );
  const head = chooseHead(headers, { agentId, found, checkpoint: choice.checkpoint });
  const holder = copies.find(({ copy }) => copy.headers.some(({ payload }) => digestOf(payload) === head.ref.digest));
  if (holder === undefined) throw nobodyHolds(agentId);

  const { mark } = await session.sessions.describeRegistry({}, session.call());
  const answer = await session.authority.forceRecover(
    {
      incarnation: mark === undefined ? "" : fromBinary(MarkSchema, mark.payload).incarnation,
      commandId: randomUUID(),
      agentId,
      revision: found?.record.revision ?? 0n,
      head: toProtoSigned(head.signed),
      spine: spineOf(head, headers).map(toProtoSigned),
      operator: choice.operator,
      reason: choice.reason,
      noneAcceptable: found?.record.conflict === undefined,
    },
    session.call(),
  );
  if (answer.refusal !== RefusalCode.UNSPECIFIED || answer.record === undefined) {
    const refusal = RefusalCodeSchema.value[answer.refusal]?.name.replace("REFUSAL_CODE_", "") ?? "UNKNOWN";
    throw new Fault({ code: "FORCE_REFUSED", agentId, refusal, reason: answer.message });
  }
  const { era, major } = answer.record;
  return { agentId, head: head.ref, host: holder.host, era, major };
}

/** `undefined` for an agent of which the registry has no record. */
async function findForced(session: Session, agent: string): Promise<FoundAgent | undefined> {
  try {
    return await findAgent(session, agent);
  } catch (error) {
    if (isFault(error, "AGENT_UNKNOWN", "NO_RECORD") && /^[0-9a-f]{64}$/.test(agent)) return undefined;
    throw error;
  }
}

interface HeldCopy {
  readonly host: Host;
  readonly copy: Copy;
}

async function fetchAll(
  session: Session,
  hosts: readonly Host[],
  { agentId, mustAnswer }: { readonly agentId: string; readonly mustAnswer: boolean },
): Promise<readonly HeldCopy[]> {
  const asked = await Promise.all(
    hosts.map(async (host): Promise<readonly HeldCopy[]> => {
      try {
        return [{ host, copy: await fetchCopy(session, host, agentId) }];
      } catch (error) {
        session.signal.throwIfAborted();
        if (mustAnswer || !isFault(error)) throw error;
        return []; // it does not hold it, or does not answer: somebody else may
      }
    }),
  );
  return asked.flat();
}

interface HeldHeader {
  readonly signed: SignedBytes;
  readonly ref: CheckpointRef;
}

function chooseHead(
  headers: ReadonlyMap<string, SignedBytes>,
  {
    agentId,
    found,
    checkpoint,
  }: {
    readonly agentId: string;
    readonly found: FoundAgent | undefined;
    readonly checkpoint: string | undefined;
  },
): HeldHeader {
  const held = [...headers]
    .map(([digest, signed]) => headerOf(digest, signed))
    .filter(({ ref }) => checkpoint === undefined || ref.digest.startsWith(checkpoint))
    .sort((a, b) => compareCheckpoints(b.ref, a.ref));
  const [newest, next] = held;
  if (newest === undefined) throw nobodyHolds(agentId);
  if (checkpoint !== undefined && next !== undefined) {
    throw new Fault({
      code: "AMBIGUOUS_ID",
      prefix: checkpoint,
      matches: held.slice(0, 5).map(({ ref }) => ref.digest),
    });
  }
  const conflict = found?.record.conflict;
  if (checkpoint === undefined && conflict !== undefined) {
    const digests = [conflict.knownDigest, conflict.offeredDigest].map((bytes) => Buffer.from(bytes).toString("hex"));
    const reason = `there are two of tick ${conflict.tick}, ${digests.join(" and ")}: say from which the agent goes on, or from one that followed it`;
    throw new Fault({ code: "INVALID_ARGUMENT", field: "--checkpoint", reason });
  }
  return newest;
}

function headerOf(digest: string, signed: SignedBytes): HeldHeader {
  const { era, major, tick } = readHeader(signed.payload);
  return { signed, ref: { era, major, tick, digest } };
}

/** Base by base down to tick 0. Throws Fault LINEAGE_INVALID where nobody has one of them. */
function spineOf({ signed }: HeldHeader, headers: ReadonlyMap<string, SignedBytes>): readonly SignedBytes[] {
  const spine: SignedBytes[] = [];
  let { base } = readHeader(signed.payload);
  while (base !== undefined && spine.length <= headers.size) {
    const below = headers.get(base.digest);
    if (below === undefined) {
      const reason = `no host that answers has the checkpoint of tick ${base.tick} of major ${base.major}, from which it descends`;
      throw new Fault({ code: "LINEAGE_INVALID", reason });
    }
    spine.push(below);
    base = readHeader(below.payload).base;
  }
  return spine;
}

function nobodyHolds(agentId: string): Fault {
  const reason = "no live host has such a checkpoint of it: start one that has, or name one with --on";
  return new Fault({ code: "NO_CANDIDATE", agentId, reason });
}
