// What an agent's history says of a change: who, when and why (bounded; the stores keep the newest).

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AuthorityRecord,
  type Command,
  compareCheckpoints,
  type ForceRecover,
  sameSession,
} from "@godwit/common/lease";
import { toProtoSession } from "@godwit/lineage";
import { type HistoryEntry, HistoryEntrySchema } from "@godwit/proto/godwit/registry/v1/authority";
import { wireStateOf } from "./record-codec.ts";

export interface Change {
  /** The command that was done; or an item that was reasserted, and what that came to. */
  readonly command: Command | ForceRecover | { readonly kind: "reassert"; readonly violation: boolean };
  readonly before: AuthorityRecord | undefined;
  readonly after: AuthorityRecord;
  readonly at: Date;
}

const MAX_NOTE_CHARS = 256;

/** Undefined when the record's revision did not rise: a head that only moved. */
export function historyOf(change: Change): { readonly revision: bigint; readonly entry: Uint8Array } | undefined {
  const { command, before, after, at } = change;
  if (before !== undefined && before.revision === after.revision) return undefined;
  const found = before?.conflict === undefined && after.conflict !== undefined;
  const { tick } = after.unconfirmed ?? after.head;
  const entry = create(HistoryEntrySchema, {
    atUnixNs: BigInt(at.getTime()) * 1_000_000n,
    command: found ? "conflict" : command.kind,
    era: after.era,
    major: after.major,
    state: wireStateOf(after.state),
    tick,
    note: noteOf(change).slice(0, MAX_NOTE_CHARS),
    afterStoreLoss: isAfterLoss(change),
    operator: command.kind === "force_recover" ? command.operator.name : "",
    ...(after.owner && { owner: toProtoSession(after.owner) }),
  });
  return { revision: after.revision, entry: toBinary(HistoryEntrySchema, entry) };
}

export function readHistoryEntry(bytes: Uint8Array): HistoryEntry {
  return fromBinary(HistoryEntrySchema, bytes);
}

/** GA-9: the record that it changed was lost, was of an earlier incarnation, or waits for the first base after that. */
function isAfterLoss({ command, before, after }: Change): boolean {
  if (before === undefined) return command.kind !== "acquire";
  return before.incarnation !== after.incarnation || before.afterLoss !== undefined;
}

function noteOf({ command, before, after }: Change): string {
  if (before?.conflict === undefined && after.conflict !== undefined) {
    const { known, offered, tick } = after.conflict;
    return `two checkpoints of tick ${tick}: ${known.slice(0, 16)} known, ${offered.slice(0, 16)} shown by ${command.kind}`;
  }
  switch (command.kind) {
    case "acquire":
      return after.name === "" ? "created" : `created as ${after.name}`;
    case "report_head":
      return "base confirmed";
    case "begin_handoff":
      return `to host ${command.targetHostId}, handoff ${command.handoffId}`;
    case "revert_handoff":
      return before?.handoff === undefined ? "" : `handoff ${before.handoff.id} to host ${before.handoff.targetHostId}`;
    case "claim":
      return `handoff ${command.token.handoffId} from host ${before?.owner?.hostId ?? "?"}`;
    case "recover":
      return recoveryNote(command, before);
    case "declare_recovery":
      return command.reason;
    case "release":
      return command.head === undefined ? `${command.reason}, without running it` : command.reason;
    case "terminate":
      return "gone for good";
    case "force_recover":
      return `tick ${command.head.tick} chosen: ${command.operator.reason}`;
    case "reassert":
      if (command.violation) return "two hosts show what cannot both be true";
      return after.terminated === undefined ? "confirmed by its owner" : "shown to be terminated";
  }
}

function recoveryNote(command: Command & { kind: "recover" }, before: AuthorityRecord | undefined): string {
  const { head } = command;
  if (before === undefined) return `from tick ${head.tick}, no record was left`;
  const again = sameSession(before.owner, command.caller)
    ? "by its owner"
    : `from host ${before.owner?.hostId ?? "nobody"}`;
  const rolledBack = compareCheckpoints(head, before.head) < 0;
  return `${again}, from tick ${head.tick}${rolledBack ? `, rolled back from tick ${before.head.tick}` : ""}`;
}
