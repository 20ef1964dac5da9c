// An authority record between its stored bytes, its message, and the form that is decided on.
//
// The stored bytes are what compare-and-set compares. They are never made again from a record that was read: protobuf may
// encode one value in several ways.

import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { AfterLoss, AuthorityRecord, AuthorityState, Base, RetiredReason, Term } from "@godwit/common/lease";
import {
  digestToBytes,
  fromProtoPolicy,
  fromProtoRef,
  fromProtoSession,
  fromProtoSigned,
  toProtoPolicy,
  toProtoRef,
  toProtoSession,
  toProtoSigned,
} from "@godwit/lineage";
import {
  type AfterLossSchema,
  AuthorityRecordSchema,
  type BaseSchema,
  type AfterLoss as WireAfterLoss,
  type Base as WireBase,
  RetiredReason as WireReason,
  type AuthorityRecord as WireRecord,
  AuthorityState as WireState,
  type Term as WireTerm,
} from "@godwit/proto/godwit/registry/v1/authority";

/** One record in all its forms. */
export interface KnownRecord {
  readonly record: AuthorityRecord;
  readonly message: WireRecord;
  readonly bytes: Uint8Array;
}

const STATES = {
  ACTIVE_OWNER: WireState.ACTIVE_OWNER,
  HANDOFF_INITIATED: WireState.HANDOFF_INITIATED,
  HANDOFF_PENDING: WireState.HANDOFF_PENDING,
  RECOVERY_REQUIRED: WireState.RECOVERY_REQUIRED,
  RETIRED: WireState.RETIRED,
} as const satisfies Record<AuthorityState, WireState>;

const REASONS = {
  drained: WireReason.DRAINED,
  "cannot-run": WireReason.CANNOT_RUN,
  forced: WireReason.FORCED,
  stopped: WireReason.STOPPED,
  failed: WireReason.FAILED,
  unfunded: WireReason.UNFUNDED,
} as const satisfies Record<RetiredReason, WireReason>;

const stateOf = inverse<WireState, AuthorityState>(STATES);
const reasonOf = inverse<WireReason, RetiredReason>(REASONS);

export function wireStateOf(state: AuthorityState): WireState {
  return STATES[state];
}

/** Undefined for a reason that is unset or not known. */
export function readRetiredReason(reason: WireReason): RetiredReason | undefined {
  return reasonOf.get(reason);
}

export function encodeRecord(record: AuthorityRecord): KnownRecord {
  const { agentId, name, incarnation, revision, era, major, lastCommand, declared } = record;
  const { reason, conflict, forced, afterLoss } = record;
  const message = create(AuthorityRecordSchema, {
    agentId,
    name,
    incarnation,
    revision,
    era,
    major,
    lastCommand,
    declared,
    state: STATES[record.state],
    reason: reason === undefined ? WireReason.UNSPECIFIED : REASONS[reason],
    head: toProtoRef(record.head),
    bases: record.bases.map(toWireBase),
    recoveryPolicy: toProtoPolicy(record.recoveryPolicy),
    ...(record.owner && { owner: toProtoSession(record.owner) }),
    ...(record.handoff && { handoff: record.handoff }),
    ...(record.unconfirmed && { unconfirmed: toProtoRef(record.unconfirmed) }),
    ...(record.terminated && { terminated: toProtoSigned(record.terminated) }),
    ...(record.grant && { grant: toProtoSigned(record.grant) }),
    ...(forced && { forced }),
    ...(afterLoss && { afterLoss: toWireAfterLoss(afterLoss) }),
    ...(conflict && {
      conflict: {
        era: conflict.era,
        major: conflict.major,
        tick: conflict.tick,
        knownDigest: digestToBytes(conflict.known),
        offeredDigest: digestToBytes(conflict.offered),
      },
    }),
  });
  return { record, message, bytes: toBinary(AuthorityRecordSchema, message) };
}

/** Of what `encodeRecord` wrote. Throws an Error for anything else: the store is damaged. */
export function decodeRecord(bytes: Uint8Array): KnownRecord {
  const message = fromBinary(AuthorityRecordSchema, bytes);
  const { agentId, name, incarnation, revision, era, major, lastCommand, declared } = message;
  const { head, owner, handoff, unconfirmed, conflict, terminated, grant } = message;
  const state = stateOf.get(message.state);
  const recoveryPolicy = fromProtoPolicy(message.recoveryPolicy);
  if (state === undefined || head === undefined || recoveryPolicy === undefined)
    throw new Error(`the stored record of agent ${agentId} is damaged`);
  const record: AuthorityRecord = {
    agentId,
    name,
    incarnation,
    revision,
    era,
    major,
    lastCommand,
    declared,
    state,
    reason: reasonOf.get(message.reason),
    owner: owner && fromProtoSession(owner),
    handoff: handoff && { id: handoff.id, targetHostId: handoff.targetHostId },
    head: fromProtoRef(head),
    bases: message.bases.map(readBase),
    unconfirmed: unconfirmed && fromProtoRef(unconfirmed),
    conflict: conflict && {
      era: conflict.era,
      major: conflict.major,
      tick: conflict.tick,
      known: hex(conflict.knownDigest),
      offered: hex(conflict.offeredDigest),
    },
    forced: message.forced && readTerm(message.forced),
    afterLoss: message.afterLoss && readAfterLoss(message.afterLoss),
    terminated: terminated && fromProtoSigned(terminated),
    grant: grant && fromProtoSigned(grant),
    recoveryPolicy,
  };
  return { record, message, bytes };
}

export function toWireBase({ era, major, startedFrom }: Base): MessageInitShape<typeof BaseSchema> {
  return { era, major, startedFrom: toProtoRef(startedFrom) };
}

/** Throws an Error for one without a checkpoint. */
export function readBase({ era, major, startedFrom }: WireBase): Base {
  if (startedFrom === undefined) throw new Error("a base without the checkpoint that it started from");
  return { era, major, startedFrom: fromProtoRef(startedFrom) };
}

export function readTerm({ era, major }: WireTerm): Term {
  return { era, major };
}

/** Throws an Error for one whose spine is damaged. */
export function readAfterLoss({ above, era, spine }: WireAfterLoss): AfterLoss {
  return { above: above && readTerm(above), era, spine: spine.map(readBase) };
}

function toWireAfterLoss({ above, era, spine }: AfterLoss): MessageInitShape<typeof AfterLossSchema> {
  return { era, spine: spine.map(toWireBase), ...(above && { above }) };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function inverse<W, T extends string>(table: Readonly<Record<T, W>>): ReadonlyMap<W, T> {
  return new Map(Object.entries(table).map(([name, value]) => [value as W, name as T]));
}
