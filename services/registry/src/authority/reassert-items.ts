// What a host signs when it brings its session and its agents back (GA-7), read so that `reassert` sees plain values.
//
// One signature of the host vouches for a whole batch: it covers the digest of the items' bytes. What decides is what this
// registry has signed itself, in each item; of whom the grant is, under which term, session and incarnation, its payload says.

import { fromBinary } from "@bufbuild/protobuf";
import { Fault, isFault } from "@godwit/common/fault";
import type { GrantItem, ReassertItem, SessionId, SignedBytes } from "@godwit/common/lease";
import {
  digestFromBytes,
  digestOf,
  fromProtoRef,
  fromProtoSession,
  fromProtoSigned,
  isDigest,
  open,
  publicKeyOfHost,
  readGenesis,
  readGrant,
  readTermination,
} from "@godwit/lineage";
import {
  type ReassertedConflict,
  type ReassertedGrant,
  ReassertItemsSchema,
  ReassertionSchema,
  type ReassertItem as WireItem,
  type Reassertion as WireReassertion,
} from "@godwit/proto/godwit/registry/v1/authority";
import { readAfterLoss, readBase, readTerm } from "./record-codec.ts";

/** Of one call; a host with more agents makes several. */
export const MAX_REASSERTED = 4_096;

/** More bases are never kept. */
const MAX_SHOWN_BASES = 64;

export interface ShownReassertion {
  readonly session: SessionId;
  readonly incarnation: string;
  readonly from: string;
  /** The one that the host was last answered. */
  readonly generation: bigint;
  readonly markSeen: SignedBytes | undefined;
  readonly items: readonly WireItem[];
}

/** Throws Fault INVALID_ARGUMENT; SIGNATURE_INVALID unless the host of that session has signed it, with these very items. */
export function readReassertion(signed: SignedBytes, items: Uint8Array): ShownReassertion {
  const statement = decode("reassertion", () => fromBinary(ReassertionSchema, signed.payload));
  const session = sessionIn(statement);
  open("reassertion", signed, publicKeyOfHost(session.hostId));
  const { incarnation, fromIncarnation, generation, markSeen, itemsDigest } = statement;
  if (digestFromBytes(itemsDigest, "items digest") !== digestOf(items)) {
    throw new Fault({ code: "SIGNATURE_INVALID", what: "the digest of the reasserted items" });
  }
  const shown = decode("items", () => fromBinary(ReassertItemsSchema, items)).items;
  if (shown.length > MAX_REASSERTED) {
    throw invalid("items", `give at most ${MAX_REASSERTED} at once, not ${shown.length}`);
  }
  return {
    session,
    incarnation,
    from: fromIncarnation,
    generation,
    markSeen: markSeen && fromProtoSigned(markSeen),
    items: shown,
  };
}

/** Throws Fault INVALID_ARGUMENT for an item that is malformed; what nobody has signed is `undefined` in it. */
export function readItem(item: WireItem, registryPublicKey: Uint8Array): ReassertItem {
  const { agentId, what } = item;
  if (!isDigest(agentId)) throw invalid("items.agent_id", "give an agent id: 64 lower-case hex digits");
  const genesis = genesisIn(item);
  switch (what.case) {
    case "grant":
      return { kind: "grant", agentId, genesis, ...readGrantItem(what.value, agentId, registryPublicKey) };
    case "conflict":
      return { kind: "conflict", agentId, genesis, ...readConflict(what.value) };
    case "termination": {
      const signed = fromProtoSigned(what.value);
      const termination = signedFor(agentId, () => readTermination(signed, registryPublicKey));
      return { kind: "termination", agentId, genesis, signed, termination };
    }
    case undefined:
      throw invalid("items", "each is a grant, a conflict or a termination");
  }
}

function readGrantItem(
  wire: ReassertedGrant,
  agentId: string,
  registryPublicKey: Uint8Array,
): Omit<GrantItem, "kind" | "agentId" | "genesis"> {
  const { grant, head, bases, unconfirmed, forced, afterLoss, revision } = wire;
  if (grant === undefined || head === undefined) throw invalid("items.grant", "it names no grant or no head");
  if (bases.length > MAX_SHOWN_BASES || (afterLoss?.spine.length ?? 0) > MAX_SHOWN_BASES) {
    throw invalid("items.grant.bases", `give the newest ${MAX_SHOWN_BASES} at most`);
  }
  return {
    grant: signedFor(agentId, () => readGrant(fromProtoSigned(grant), registryPublicKey)),
    head: fromProtoRef(head, "items.grant.head"),
    unconfirmed: unconfirmed && fromProtoRef(unconfirmed, "items.grant.unconfirmed"),
    forced: forced && readTerm(forced),
    revision,
    ...decode("items.grant.bases", () => ({
      bases: bases.map(readBase),
      afterLoss: afterLoss && readAfterLoss(afterLoss),
    })),
  };
}

function readConflict({ term, conflict }: ReassertedConflict) {
  if (term === undefined || conflict === undefined) throw invalid("items.conflict", "it names no term or no digests");
  const { era, major, tick } = conflict;
  const known = digestFromBytes(conflict.knownDigest, "items.conflict.known_digest");
  const offered = digestFromBytes(conflict.offeredDigest, "items.conflict.offered_digest");
  return { term: readTerm(term), conflict: { era, major, tick, known, offered } };
}

/** `undefined` when it was not shown, or gives another agent its id. */
function genesisIn({ agentId, genesis }: WireItem): ReassertItem["genesis"] {
  if (genesis.length === 0 || digestOf(genesis) !== agentId) return undefined;
  const { name, recoveryPolicy } = readGenesis(genesis);
  return { name, recoveryPolicy };
}

/** `undefined` unless this registry has signed it, of this agent. */
function signedFor<T extends { readonly agentId: string }>(agentId: string, read: () => T): T | undefined {
  try {
    const statement = read();
    return statement.agentId === agentId ? statement : undefined;
  } catch (error) {
    if (isFault(error)) return undefined;
    throw error;
  }
}

function sessionIn({ session }: WireReassertion): SessionId {
  if (session === undefined) throw invalid("reassertion.session", "name the session");
  return fromProtoSession(session);
}

function decode<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (isFault(cause)) throw cause;
    throw new Fault({ code: "INVALID_ARGUMENT", field, reason: "it is cut short, or something else" }, { cause });
  }
}

function invalid(field: string, reason: string): Fault {
  return new Fault({ code: "INVALID_ARGUMENT", field, reason });
}
