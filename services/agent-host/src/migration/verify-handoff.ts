// Whether what a source sent is what it says, before anything of it is written: bytes in, a verified handoff or a fault
// out. Every fault is fatal for this target, as GH-2 has it for what does not verify.
//
// EI-3, I3  The checkpoint is signed by the host that its grant names, and descends from tick 0 base by base.
// §2        The token is signed by that same host, who is the peer on the stream, and names this host, this handoff, this
//           checkpoint and no other.
// I6        The receipts that come along are those of this lineage: no gap, and the same as in the headers that are here.

import { Fault } from "@godwit/common/fault";
import { type SignedBytes, sameCheckpoint, sameTerm } from "@godwit/common/lease";
import {
  type Checkpoint,
  checkWallet,
  digestOf,
  joinCheckpoint,
  linkProblem,
  moneyProblem,
  type RelinquishToken,
  readHeader,
  readToken,
  type VerifiedHeader,
  verifyHeader,
  type WalletOwner,
} from "@godwit/lineage";
import type { CheckpointFrame, HandoffEndFrame, HandoffFrame, OfferFrame } from "@godwit/migration";

/** What the agent was frozen as: a copy, until the token comes (EI-4). */
export interface VerifiedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Encoded, newest last. */
  readonly receipts: readonly Uint8Array[];
  /** From the checkpoint's base to tick 0, newest first; empty for a checkpoint of tick 0. */
  readonly spine: readonly SignedBytes[];
}

export interface VerifiedHandoff extends VerifiedCheckpoint {
  readonly handoffId: string;
  readonly sourceHostId: string;
  readonly token: RelinquishToken;
  readonly signedToken: SignedBytes;
}

/** Who offers what to whom: what the stream and the offer have settled. */
export interface HandoffTerms {
  readonly offer: OfferFrame;
  readonly sourceHostId: string;
  readonly targetHostId: string;
  readonly registryKey: Uint8Array;
}

/** Headers that are verified in one go: some 10 ms, during which nothing else of this host moves. */
const HEADERS_AT_ONCE = 32;

/**
 * Before PREPARED: the whole spine, what came and what was known, each header by itself and each link (as verifySpine does
 * it). `breathe` is called now and then, since a long spine takes seconds and other agents tick meanwhile.
 */
export async function verifyOfferedSpine(
  received: readonly SignedBytes[],
  known: readonly SignedBytes[],
  terms: HandoffTerms,
  breathe: () => Promise<void>,
): Promise<readonly VerifiedHeader[]> {
  const { offer, registryKey } = terms;
  const broken = (reason: string) => new Fault({ code: "LINEAGE_INVALID", reason });
  // A source that does not have what we know sends all of it, down to tick 0.
  const whole = isOldest(received) ? received : [...received, ...known];
  const spine: VerifiedHeader[] = [];
  for (const signed of whole) {
    if (spine.length > 0 && spine.length % HEADERS_AT_ONCE === 0) await breathe();
    const next = verifyHeader(signed, registryKey);
    const above = spine.at(-1);
    if (above === undefined) {
      checkAgent(next, offer);
    } else {
      if (above.header.base === undefined) throw broken("the spine goes on after tick 0");
      const problem = linkProblem(above.header, above.header.base, next) ?? moneyProblem(above.header, next);
      if (problem !== undefined) throw broken(problem);
    }
    spine.push(next);
  }
  const oldest = spine.at(-1);
  if (oldest === undefined && offer.tick !== 0n) throw broken("it is missing");
  if (oldest?.header.base !== undefined) throw broken("the spine ends before tick 0");
  return spine;
}

/**
 * As soon as all of it is here: everything about the final checkpoint. `receipts`: all that the agent can read. `spine`: as
 * it was verified before.
 */
export function verifyCheckpoint(
  signed: CheckpointFrame["checkpoint"],
  { state, receipts }: { readonly state: Uint8Array; readonly receipts: readonly Uint8Array[] },
  spine: readonly VerifiedHeader[],
  terms: HandoffTerms,
): VerifiedCheckpoint {
  const { offer, sourceHostId, registryKey } = terms;
  const verified = verifyHeader(signed, registryKey);
  checkAgent(verified, offer);
  if (verified.signerHostId !== sourceHostId) {
    throw invalid(`host ${verified.signerHostId} owns this major, not the host that hands it over`);
  }
  if (!sameTerm(verified.header, offer)) throw invalid("it is of another major than the offer");
  const checkpoint = joinCheckpoint(signed, state);
  const below = spineBelow(verified, spine);
  checkWallet(receipts, owners([verified, ...below]));
  return { checkpoint, receipts, spine: below.map(({ signed }) => signed) };
}

/** After HANDOFF: the token, and that it hands over this very checkpoint. */
export function verifyHandoff(
  handoff: HandoffFrame,
  end: HandoffEndFrame,
  verified: VerifiedCheckpoint,
  terms: HandoffTerms,
): VerifiedHandoff {
  const { checkpoint } = verified;
  if (end.stateDigest !== checkpoint.header.stateDigest)
    throw invalid("its state is not the one that the header names");
  return {
    ...verified,
    handoffId: terms.offer.handoffId,
    sourceHostId: terms.sourceHostId,
    token: checkToken(handoff.token, checkpoint, terms),
    signedToken: handoff.token,
  };
}

function checkAgent({ header }: VerifiedHeader, offer: OfferFrame): void {
  const { agentId, moduleDigest, manifestDigest } = header;
  if (agentId !== offer.agentId) throw invalid("it is of another agent than the offer");
  if (moduleDigest !== offer.moduleDigest) throw invalid("it names another module than the offer");
  if (manifestDigest !== digestOf(offer.manifest)) throw invalid("it names another manifest than the offer");
}

function checkToken(signed: SignedBytes, checkpoint: Checkpoint, terms: HandoffTerms): RelinquishToken {
  const { offer, sourceHostId, targetHostId } = terms;
  const token = readToken(signed, sourceHostId);
  const { header, digest } = checkpoint;
  const wrong =
    (token.agentId !== offer.agentId && "another agent") ||
    (token.handoffId !== offer.handoffId && "another handoff") ||
    (token.targetHostId !== targetHostId && "another target") ||
    (!sameTerm(token, header) && "another major") ||
    ((token.checkpointDigest !== digest || token.tick !== header.tick) && "another checkpoint");
  if (wrong) throw new Fault({ code: "TOKEN_INVALID", reason: `it names ${wrong}` });
  return token;
}

/** The spine was verified while the agent still ticked: what is left to see is that this checkpoint stands on it. */
function spineBelow({ header, ref }: VerifiedHeader, spine: readonly VerifiedHeader[]): readonly VerifiedHeader[] {
  const [newest, ...rest] = spine;
  if (header.base === undefined) {
    // Tick 0 is its own base: a source may send it as its spine.
    if (newest !== undefined && (!sameCheckpoint(newest.ref, ref) || rest.length > 0)) {
      throw new Fault({ code: "LINEAGE_INVALID", reason: "a checkpoint of tick 0 has no spine" });
    }
    return [];
  }
  if (newest === undefined || !sameCheckpoint(newest.ref, header.base)) {
    throw new Fault({ code: "LINEAGE_INVALID", reason: "the checkpoint does not stand on the spine that was sent" });
  }
  const problem = moneyProblem(header, newest);
  if (problem !== undefined) throw new Fault({ code: "LINEAGE_INVALID", reason: problem });
  return spine;
}

function owners(headers: readonly VerifiedHeader[]): readonly WalletOwner[] {
  return headers.map(({ header, signerHostId: hostId }) => ({ header, hostId }));
}

/** Only tick 0 stands on nothing. */
function isOldest(received: readonly SignedBytes[]): boolean {
  const last = received.at(-1);
  return last !== undefined && readHeader(last.payload).base === undefined;
}

function invalid(reason: string): Fault {
  return new Fault({ code: "CHECKPOINT_INVALID", reason });
}
