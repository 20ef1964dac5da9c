// The authority record off the wire. A registry that answers nonsense is treated like one that did not answer: what does
// not fit throws, and the caller knows nothing new.

import type {
  AuthorityRecord,
  AuthorityState,
  Base,
  CheckpointRef,
  RefusalCode,
  RetiredReason,
} from "@godwit/common/lease";
import type { CheckpointRef as WireRef } from "@godwit/proto/godwit/lineage/v1/lineage";
import { RecoveryPolicy } from "@godwit/proto/godwit/lineage/v1/lineage";
import * as wire from "@godwit/proto/godwit/registry/v1/authority";

const states: Record<number, AuthorityState> = {
  [wire.AuthorityState.ACTIVE_OWNER]: "ACTIVE_OWNER",
  [wire.AuthorityState.HANDOFF_INITIATED]: "HANDOFF_INITIATED",
  [wire.AuthorityState.HANDOFF_PENDING]: "HANDOFF_PENDING",
  [wire.AuthorityState.RECOVERY_REQUIRED]: "RECOVERY_REQUIRED",
  [wire.AuthorityState.RETIRED]: "RETIRED",
};

const reasons: Record<number, RetiredReason> = {
  [wire.RetiredReason.DRAINED]: "drained",
  [wire.RetiredReason.CANNOT_RUN]: "cannot-run",
  [wire.RetiredReason.FORCED]: "forced",
  [wire.RetiredReason.STOPPED]: "stopped",
  [wire.RetiredReason.FAILED]: "failed",
  [wire.RetiredReason.UNFUNDED]: "unfunded",
};

const refusals: Record<number, RefusalCode> = Object.fromEntries(
  Object.entries(wire.RefusalCode)
    .filter(([name]) => name !== "UNSPECIFIED")
    .map(([name, number]) => [number, name as RefusalCode]),
);

export function reasonToWire(reason: RetiredReason): wire.RetiredReason {
  const found = Object.entries(reasons).find(([, name]) => name === reason);
  if (found === undefined) throw new TypeError(`no wire form of ${reason}`);
  return Number(found[0]) as wire.RetiredReason;
}

export function refusalFromWire(code: wire.RefusalCode): RefusalCode | undefined {
  if (code === wire.RefusalCode.UNSPECIFIED) return undefined;
  return refusals[code] ?? malformed(`refusal ${code}`);
}

export function recordFromWire(record: wire.AuthorityRecord): AuthorityRecord {
  return {
    agentId: record.agentId,
    name: record.name,
    incarnation: record.incarnation,
    revision: record.revision,
    state: states[record.state] ?? malformed(`state ${record.state}`),
    reason: reasons[record.reason],
    era: record.era,
    major: record.major,
    owner: record.owner && { hostId: record.owner.hostId, bootId: record.owner.bootId },
    handoff: record.handoff && { id: record.handoff.id, targetHostId: record.handoff.targetHostId },
    head: refFromWire(record.head),
    bases: record.bases.map(baseFromWire),
    unconfirmed: record.unconfirmed && refFromWire(record.unconfirmed),
    lastCommand: record.lastCommand,
    conflict: record.conflict && {
      era: record.conflict.era,
      major: record.conflict.major,
      tick: record.conflict.tick,
      known: hex(record.conflict.knownDigest),
      offered: hex(record.conflict.offeredDigest),
    },
    forced: record.forced && { era: record.forced.era, major: record.forced.major },
    afterLoss: record.afterLoss && {
      above: record.afterLoss.above && { era: record.afterLoss.above.era, major: record.afterLoss.above.major },
      era: record.afterLoss.era,
      spine: record.afterLoss.spine.map(baseFromWire),
    },
    declared: record.declared,
    terminated: record.terminated,
    grant: record.grant,
    recoveryPolicy: record.recoveryPolicy === RecoveryPolicy.STRICT ? "strict" : "latest",
  };
}

function baseFromWire({ era, major, startedFrom }: wire.Base): Base {
  return { era, major, startedFrom: refFromWire(startedFrom) };
}

function refFromWire(ref: WireRef | undefined): CheckpointRef {
  if (ref === undefined) return malformed("a checkpoint is missing");
  return { era: ref.era, major: ref.major, tick: ref.tick, digest: hex(ref.digest) };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

function malformed(what: string): never {
  throw new TypeError(`the registry answered a record that does not fit: ${what}`);
}
