// Evidence that a host has signed two different checkpoints of one agent, major and tick (EI-11). An honest host makes at
// most one (protocol §2, Tick), so this proves by itself that the host, or a copy of its key, did not keep the protocol.
//
// 1. Both headers verify: signed by the host that the registry's grant of that agent, era and major names.
// 2. Same agent, era, major and tick; another digest.
// 3. Both grants name one session. Of two sessions the registry would be the one to answer for it, not the host.
//
// Nothing else is needed, no spine and no service: what they descend from does not matter. The key of the registry is
// the reader's own; the one in the file only tells why it may fail.

import { Fault, isFault } from "@godwit/common/fault";
import {
  type CheckpointRef,
  formatTerm,
  type SessionId,
  type SignedBytes,
  sameSession,
  sameTerm,
} from "@godwit/common/lease";
import { decodeHeadersFile, encodeHeadersFile } from "./headers-file.ts";
import { type VerifiedHeader, verifyHeader } from "./verify-header.ts";
import { describeRef } from "./verify-spine.ts";

/** Why something is no evidence. */
export type EvidenceFlaw =
  /** The bytes are no such file. */
  | "malformed"
  /** A header breaks a rule of its own: no host's checkpoint. */
  | "header-invalid"
  /** The host named by the grant did not sign it. */
  | "bad-signature"
  /** The grant is of another agent or major, or the registry did not sign it. */
  | "bad-grant"
  /** It was made under a registry with another key than the reader's. */
  | "other-registry"
  | "other-agent"
  | "other-major"
  | "other-tick"
  | "other-session"
  /** Only one was signed. */
  | "same-checkpoint";

export interface Evidence {
  /** As whoever wrote the file was told. */
  readonly registryPublicKey: Uint8Array;
  /** In the order of their digests. */
  readonly headers: readonly [SignedBytes, SignedBytes];
}

/** What was proven. */
export interface DoubleSigning {
  readonly agentId: string;
  readonly era: bigint;
  readonly major: bigint;
  readonly tick: bigint;
  /** Who signed twice. */
  readonly hostId: string;
  /** `undefined` at tick 0, which needs no grant. */
  readonly session: SessionId | undefined;
  /** In the order of their digests. */
  readonly checkpoints: readonly [CheckpointRef, CheckpointRef];
  /** When the host says that it wrote them; ns since 1970, for people. */
  readonly writtenAtNs: readonly [bigint, bigint];
}

/** Throws Fault EVIDENCE_INVALID for what could not be read back. */
export function encodeEvidence(evidence: Evidence): Uint8Array {
  return encodeHeadersFile("GWEV", evidence, malformed);
}

/** Total: any bytes give evidence to be checked, or Fault EVIDENCE_INVALID "malformed". */
export function decodeEvidence(bytes: Uint8Array): Evidence {
  const { registryPublicKey, headers } = decodeHeadersFile("GWEV", bytes, malformed);
  const [first, second, ...more] = headers;
  if (first === undefined || second === undefined || more.length > 0) throw malformed("it takes two headers");
  return { registryPublicKey, headers: [first, second] };
}

/**
 * Evidence of two headers, in either order. Throws Fault EVIDENCE_INVALID, with its flaw, for what proves nothing to who
 * has that key.
 */
export function evidenceOf(a: SignedBytes, b: SignedBytes, registryPublicKey: Uint8Array): Evidence {
  const [first, second] = inOrder(verified(a, registryPublicKey), verified(b, registryPublicKey));
  checkPair(first, second);
  return { registryPublicKey, headers: [first.signed, second.signed] };
}

/**
 * What the evidence proves to the holder of the registry's public key, whom no service has to help.
 * Total. Throws Fault EVIDENCE_INVALID, with its flaw, when it proves nothing.
 */
export function checkDoubleSigning({ headers, ...evidence }: Evidence, registryPublicKey: Uint8Array): DoubleSigning {
  if (Buffer.compare(evidence.registryPublicKey, registryPublicKey) !== 0) {
    throw refusal("other-registry", "it was made under a registry with another public key than the one given");
  }
  const [a, b] = headers;
  const [first, second] = inOrder(verified(a, registryPublicKey), verified(b, registryPublicKey));
  checkPair(first, second);
  const { agentId, era, major, tick } = first.header;
  return {
    agentId,
    era,
    major,
    tick,
    hostId: first.signerHostId,
    session: first.grant?.session,
    checkpoints: [first.ref, second.ref],
    writtenAtNs: [first.header.writtenAtNs, second.header.writtenAtNs],
  };
}

/** Every tick of which these prove two checkpoints, once; of what does not verify, or proves nothing, nothing is said. */
export function findDoubleSignings(
  headers: readonly SignedBytes[],
  registryPublicKey: Uint8Array,
): readonly Evidence[] {
  const places = new Map<string, VerifiedHeader>();
  const found = new Map<string, Evidence>();
  for (const signed of headers) {
    try {
      const next = verifyHeader(signed, registryPublicKey);
      const signer = `${next.signerHostId}/${next.grant?.session.bootId ?? ""}`;
      const place = `${next.header.agentId}/${signer}/${formatTerm(next.ref)}/${next.ref.tick}`;
      const known = places.get(place);
      if (known === undefined) places.set(place, next);
      else if (known.digest !== next.digest && !found.has(place)) {
        found.set(place, evidenceOf(known.signed, signed, registryPublicKey));
      }
    } catch (error) {
      if (!isFault(error)) throw error;
    }
  }
  return [...found.values()];
}

function verified(signed: SignedBytes, registryPublicKey: Uint8Array): VerifiedHeader {
  try {
    return verifyHeader(signed, registryPublicKey);
  } catch (error) {
    if (!isFault(error)) throw error;
    throw new Fault({ code: "EVIDENCE_INVALID", flaw: flawOf(error), reason: error.message }, { cause: error });
  }
}

function flawOf(error: Fault): EvidenceFlaw {
  if (isFault(error, "GRANT_INVALID")) return "bad-grant";
  if (isFault(error, "SIGNATURE_INVALID")) return error.detail.what === "the grant" ? "bad-grant" : "bad-signature";
  return "header-invalid";
}

function checkPair(a: VerifiedHeader, b: VerifiedHeader): void {
  if (a.header.agentId !== b.header.agentId) throw refusal("other-agent", "the checkpoints are of two agents");
  const both = `${describeRef(a.ref)} and ${describeRef(b.ref)}`;
  if (!sameTerm(a.ref, b.ref)) throw refusal("other-major", `${both} are of two majors`);
  if (a.ref.tick !== b.ref.tick) throw refusal("other-tick", `${both} are of two ticks`);
  if (a.digest === b.digest)
    throw refusal("same-checkpoint", `${describeRef(a.ref)} is there twice, which anybody can do`);
  if (a.signerHostId !== b.signerHostId || (a.grant !== undefined && !sameSession(a.grant.session, b.grant?.session))) {
    throw refusal("other-session", `${both} were granted to two sessions: that is for the registry to explain`);
  }
}

function inOrder(a: VerifiedHeader, b: VerifiedHeader): [VerifiedHeader, VerifiedHeader] {
  return a.digest <= b.digest ? [a, b] : [b, a];
}

function malformed(reason: string): Fault {
  return refusal("malformed", `of its file, ${reason}`);
}

function refusal(flaw: EvidenceFlaw, reason: string): Fault {
  return new Fault({ code: "EVIDENCE_INVALID", flaw, reason });
}
