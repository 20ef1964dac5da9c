// Whether what an owner sent is what it says, before anything of it is written. Pure: bytes in, a verified replica or a
// fault out.
//
// EI-3, I3  The checkpoint is signed by the host that its grant names, and descends from tick 0 base by base.
// I6        The receipts that come along are those of this lineage: no gap, and the same as in the headers that are here.
// EI-4      A replica gives no right to anything, so who sends it need not be who signed it: a host may pass on what it holds.

import { Fault } from "@godwit/common/fault";
import { type CheckpointRef, compareCheckpoints, type SignedBytes } from "@godwit/common/lease";
import { ClassifiedFault } from "@godwit/common/retry";
import {
  checkWallet,
  digestOf,
  type Header,
  joinCheckpoint,
  linkProblem,
  moneyProblem,
  readGenesis,
  readHeader,
  type VerifiedHeader,
  verifyHeader,
  verifySpine,
} from "@godwit/lineage";
import type { ReplicaOfferFrame } from "@godwit/migration";
import type { Replica, ReplicaStoreFacts } from "./ports.ts";

/** Throws ClassifiedFault SESSION_NOT_OPEN (retriable) as long as this host has met no registry. */
export function registryKeyOf({ registryKey }: ReplicaStoreFacts): Uint8Array {
  if (registryKey !== undefined) return registryKey;
  const reason = "the holder has not met the registry yet";
  throw new ClassifiedFault("retriable", { code: "SESSION_NOT_OPEN", reason });
}

/** The header of an offer that may be taken. Throws Fault for one that may not. */
export function verifyOffer(offer: ReplicaOfferFrame, facts: ReplicaStoreFacts): VerifiedHeader {
  const verified = verifyHeader(offer.checkpoint, registryKeyOf(facts));
  const { agentId, manifestDigest, stateBytes } = verified.header;
  if (agentId !== offer.agentId) throw invalid("it is of another agent than the offer");
  if (manifestDigest !== digestOf(offer.manifest)) throw invalid("it names another manifest than the offer");
  if (stateBytes > BigInt(facts.maxStateBytes)) throw tooLarge("the state", facts.maxStateBytes);
  if (offer.moduleBytes > facts.maxModuleBytes) throw tooLarge("the module", facts.maxModuleBytes);
  return verified;
}

/** Throws Fault RESOURCE_LIMIT when this host takes no copies any more. What it holds already is not asked about. */
export function checkRoom({ fullAtBytes }: ReplicaStoreFacts): void {
  if (fullAtBytes !== undefined) throw tooLarge("what the holder keeps", fullAtBytes);
}

/** `true` when what is held will do. Throws Fault DIVERGENT_LINEAGE for another checkpoint of the same major and tick (EI-11). */
export function isHeldAlready({ header, ref }: VerifiedHeader, held: CheckpointRef | undefined): boolean {
  if (held === undefined) return false;
  const order = compareCheckpoints(held, ref);
  if (order === 0 && held.digest !== ref.digest) {
    throw new Fault({ code: "DIVERGENT_LINEAGE", agentId: header.agentId });
  }
  return order >= 0;
}

/**
 * Digest of the header from which on the spine need not be sent: the offered checkpoint's own base, or the newest that is
 * held. `spine`: of the checkpoint that is held.
 */
export function spineKnownOf({ header }: VerifiedHeader, spine: Iterable<SignedBytes>): string | undefined {
  let newest: string | undefined;
  for (const { payload } of spine) {
    const digest = digestOf(payload);
    if (digest === header.base?.digest) return digest;
    newest ??= digest;
  }
  return newest;
}

export interface Received {
  readonly offer: ReplicaOfferFrame;
  readonly verified: VerifiedHeader;
  readonly spine: readonly SignedBytes[];
  /** Of the checkpoint that is held: it was verified when it was stored. Read as far as it is needed. */
  readonly spineHeld: Iterable<SignedBytes>;
  /** Under which the agent is held; `undefined` when nothing of it is. */
  readonly name: string | undefined;
  /** `undefined` when it was not asked for; its digest was compared. */
  readonly module: Uint8Array | undefined;
  readonly state: Uint8Array;
}

/** Throws Fault LINEAGE_INVALID, CHECKPOINT_INVALID, GRANT_INVALID or SIGNATURE_INVALID. */
export function verifyReplica(received: Received, registryKey: Uint8Array): Replica {
  const { offer, verified, module, state } = received;
  const checkpoint = joinCheckpoint(offer.checkpoint, state);
  const whole = { [Symbol.iterator]: () => wholeSpine(received) };
  if (received.spine.length > 0 || !standsOn(verified.header, whole, registryKey)) {
    verifySpine([...whole], verified.header, registryKey);
  }
  checkWallet(offer.receipts, ownersOf(verified, whole, registryKey));
  return {
    name: received.name ?? nameIn([...whole].at(-1) ?? offer.checkpoint),
    checkpoint,
    spine: received.spine,
    manifest: offer.manifest,
    module,
    receipts: offer.receipts,
  };
}

/** What was sent, and below it what is held. An owner that does not have what we know sends all, down to tick 0. */
function* wholeSpine({ spine, spineHeld, verified }: Received): Generator<SignedBytes, void, undefined> {
  yield* spine;
  const last = spine.at(-1);
  const { base } = last === undefined ? verified.header : readHeader(last.payload);
  if (base === undefined) return;
  let isBelow = false;
  for (const signed of spineHeld) {
    isBelow ||= digestOf(signed.payload) === base.digest;
    if (isBelow) yield signed;
  }
}

/** A spine that was verified before carries whatever names its newest header as its base, of the same agent and module. */
function standsOn(header: Header, [newest]: Iterable<SignedBytes>, registryKey: Uint8Array): boolean {
  if (header.base === undefined || newest === undefined) return false;
  const below = verifyHeader(newest, registryKey);
  const problem = linkProblem(header, header.base, below) ?? moneyProblem(header, below);
  return problem === undefined;
}

/** Who owned the agent up to each of these checkpoints. The spine was verified, so this costs little. */
function* ownersOf(offered: VerifiedHeader, spine: Iterable<SignedBytes>, registryKey: Uint8Array) {
  yield { header: offered.header, hostId: offered.signerHostId };
  for (const signed of spine) {
    const { header, signerHostId: hostId } = verifyHeader(signed, registryKey);
    yield { header, hostId };
  }
}

function nameIn(tickZero: SignedBytes): string {
  const { genesis } = readHeader(tickZero.payload);
  if (genesis === undefined) throw invalid("its lineage does not begin with a genesis");
  return readGenesis(genesis).name;
}

function tooLarge(what: string, limit: number): Fault {
  return new Fault({ code: "RESOURCE_LIMIT", what, limit });
}

function invalid(reason: string): Fault {
  return new Fault({ code: "CHECKPOINT_INVALID", reason });
}
