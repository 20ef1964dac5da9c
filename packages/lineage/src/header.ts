// The header of a checkpoint: all that is signed of it. Its digest is the digest of the checkpoint (protocol §4, head).

import { create, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import type { CheckpointRef, SignedBytes, Term } from "@godwit/common/lease";
import type { Microcents } from "@godwit/common/money";
import {
  type CheckpointHeader,
  CheckpointHeaderSchema,
  CheckpointRefSchema,
  SignedSchema,
  Origin as WireOrigin,
} from "@godwit/proto/godwit/lineage/v1/lineage";
import { digestToBytes, hexOf } from "./digest.ts";
import { headerProblem } from "./header-rules.ts";
import { fromProtoReceipt, fundingIdFromBytes, fundingIdToBytes, type Receipt, toProtoReceipt } from "./receipt.ts";
import { type Complaint, readMessage } from "./wire.ts";

/** Why a major started, as its owner saw it; every checkpoint of the major says the same. */
export type Origin = "created" | "migrated" | "recovered" | "recovered-after-store-loss";

export interface Header extends Term {
  readonly agentId: string;
  /** Renewals of the owner's session when this was written. */
  readonly generation: bigint;
  readonly tick: bigint;
  readonly moduleDigest: string;
  readonly manifestDigest: string;
  readonly stateDigest: string;
  readonly stateBytes: bigint;
  /** Digest of the checkpoint before, of this major or the base. At tick 0 `undefined`, or what the genesis says was imported. */
  readonly previous: string | undefined;
  /** The checkpoint that this owner started from; `undefined` only at tick 0. */
  readonly base: CheckpointRef | undefined;
  readonly budget: Microcents;
  readonly pricePerSecond: Microcents;
  /** Charged, but not a whole microcent yet: 10^-9 microcents, below 10^9. */
  readonly remainder: bigint;
  /** Cover every tick after the checkpoint before, up to this one. */
  readonly receipts: readonly Receipt[];
  /** The registry's grant of the major; `undefined` only at tick 0. */
  readonly grant: SignedBytes | undefined;
  /** Bytes of the genesis; only at tick 0. */
  readonly genesis: Uint8Array | undefined;
  readonly origin: Origin;
  /** Only when the major was recovered from a base that is older than the newest checkpoint known then: that one's tick. */
  readonly rolledBackFromTick: bigint | undefined;
  /** Wall clock of the owner, ns since 1970; for people, never for decisions. */
  readonly writtenAtNs: bigint;
  /** Ids of the newest fundings of the agent, newest last, in hex (fundings.ts). */
  readonly fundingIds: readonly string[];
  /** Of the encoded event log of the ticks since the checkpoint before; `undefined` where none was kept, and at tick 0. */
  readonly eventsDigest?: string | undefined;
}

export const MAX_HEADER_BYTES = 16 * 1024;

const VERSION = 1;

/** Throws Fault CHECKPOINT_INVALID for a header that nobody would accept, so that none is ever signed. */
export function encodeHeader(header: Header): Uint8Array {
  const problem = headerProblem(header);
  if (problem !== undefined) throw complain(problem);
  const { base, grant, genesis, previous, rolledBackFromTick, eventsDigest } = header;
  const message = create(CheckpointHeaderSchema, {
    version: VERSION,
    agentId: header.agentId,
    era: header.era,
    major: header.major,
    generation: header.generation,
    tick: header.tick,
    moduleDigest: digestToBytes(header.moduleDigest),
    manifestDigest: digestToBytes(header.manifestDigest),
    stateDigest: digestToBytes(header.stateDigest),
    stateBytes: header.stateBytes,
    budget: header.budget,
    pricePerSecond: header.pricePerSecond,
    remainder: header.remainder,
    receipts: header.receipts.map(toProtoReceipt),
    origin: WIRE_ORIGIN[header.origin],
    writtenAtUnixNs: header.writtenAtNs,
    fundingIds: header.fundingIds.map(fundingIdToBytes),
  });
  if (previous !== undefined) message.previous = digestToBytes(previous);
  if (base !== undefined) {
    message.base = create(CheckpointRefSchema, { ...base, digest: digestToBytes(base.digest) });
  }
  if (grant !== undefined) message.grant = create(SignedSchema, grant);
  if (genesis !== undefined) message.genesis = genesis;
  if (rolledBackFromTick !== undefined) message.rolledBackFromTick = rolledBackFromTick;
  if (eventsDigest !== undefined) message.eventsDigest = digestToBytes(eventsDigest);
  return toBinary(CheckpointHeaderSchema, message);
}

/**
 * What a header says, whoever has signed it. Total: any bytes give a header that keeps the rules of header-rules.ts, or
 * Fault CHECKPOINT_INVALID. Verify it before relying on it.
 */
export function readHeader(payload: Uint8Array): Header {
  const message = readMessage(CheckpointHeaderSchema, payload, MAX_HEADER_BYTES, complain);
  if (message.version !== VERSION)
    throw complain(`its version ${message.version} is not known here: use a newer Godwit`);
  const origin = ORIGINS.get(message.origin);
  if (origin === undefined) throw complain("it does not say why its major started");

  const { base, grant, genesis, previous, rolledBackFromTick, eventsDigest } = message;
  const header: Header = {
    agentId: message.agentId,
    era: message.era,
    major: message.major,
    generation: message.generation,
    tick: message.tick,
    moduleDigest: hexOf(message.moduleDigest),
    manifestDigest: hexOf(message.manifestDigest),
    stateDigest: hexOf(message.stateDigest),
    stateBytes: message.stateBytes,
    previous: previous.length === 0 ? undefined : hexOf(previous),
    base: base && { era: base.era, major: base.major, tick: base.tick, digest: hexOf(base.digest) },
    budget: message.budget,
    pricePerSecond: message.pricePerSecond,
    remainder: message.remainder,
    receipts: receiptsOf(message),
    grant: grant && { payload: new Uint8Array(grant.payload), signature: new Uint8Array(grant.signature) },
    genesis: genesis.length === 0 ? undefined : new Uint8Array(genesis),
    origin,
    rolledBackFromTick: rolledBackFromTick === 0n ? undefined : rolledBackFromTick,
    writtenAtNs: message.writtenAtUnixNs,
    fundingIds: message.fundingIds.map(fundingIdFromBytes),
    eventsDigest: eventsDigest.length === 0 ? undefined : hexOf(eventsDigest),
  };
  const problem = headerProblem(header);
  if (problem !== undefined) throw complain(problem);
  return header;
}

function receiptsOf(message: CheckpointHeader): readonly Receipt[] {
  return message.receipts.map(fromProtoReceipt);
}

const complain: Complaint = (reason) => new Fault({ code: "CHECKPOINT_INVALID", reason });

const WIRE_ORIGIN: Readonly<Record<Origin, WireOrigin>> = {
  created: WireOrigin.CREATED,
  migrated: WireOrigin.MIGRATED,
  recovered: WireOrigin.RECOVERED,
  "recovered-after-store-loss": WireOrigin.RECOVERED_AFTER_STORE_LOSS,
};

const ORIGINS: ReadonlyMap<number, Origin> = new Map(
  Object.entries(WIRE_ORIGIN).map(([origin, wire]) => [wire, origin as Origin]),
);
