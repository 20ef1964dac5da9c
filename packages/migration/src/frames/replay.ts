// What lets a target run an agent's last ticks again, as bytes and back. Whether it fits together is the host's to say.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { SignedBytes } from "@godwit/common/lease";
import { digestOf } from "@godwit/lineage";
import { type Replay as ReplayMessage, ReplaySchema } from "@godwit/proto/godwit/migration/v1/migration";
import { chunksOf } from "./chunks.ts";
import { hasMoreFields } from "./field-count.ts";
import type { ChunkFrame, ReplayEndFrame } from "./frames.ts";
import { frameInvalid, readSigned } from "./wire.ts";

/** Headers are of checkpoints that follow each other, oldest first. */
export interface ReplayRecord {
  /**
   * Ahead of PREPARED: the checkpoint from which the ticks begin, and each after it. After PREPARED: those that came since,
   * without the frozen one.
   */
  readonly headers: readonly SignedBytes[];
  /** Of the first of `headers`, ahead of PREPARED; else empty. */
  readonly state: Uint8Array;
  /** Encoded event logs, one for each checkpoint that they lead to. */
  readonly eventLogs: readonly Uint8Array[];
}

/** More than a window can hold: a host checkpoints every few ticks, or has not ticked. */
const MAX_HEADERS = 4_096;
/** A header has three, a log one. */
const MOST_FIELDS = 4 * MAX_HEADERS + 1;

export function* replayFrames(record: ReplayRecord): Generator<ChunkFrame | ReplayEndFrame> {
  const { headers, state, eventLogs } = record;
  const message = create(ReplaySchema, { headers: [...headers], state, eventLogs: [...eventLogs] });
  const bytes = toBinary(ReplaySchema, message);
  yield* chunksOf("replay", bytes);
  yield { kind: "replay-end", bytes: bytes.length, digest: digestOf(bytes) };
}

/** Total: any bytes give a record, or ClassifiedFault FRAME_INVALID. States and logs are views of the bytes. */
export function decodeReplay(bytes: Uint8Array): ReplayRecord {
  const { headers, state, eventLogs } = read(bytes);
  if (headers.length > MAX_HEADERS || eventLogs.length > MAX_HEADERS) {
    throw frameInvalid(`its replay has more than ${MAX_HEADERS} checkpoints`);
  }
  return { headers: headers.map((header) => readSigned(header, "replay")), state, eventLogs };
}

function read(bytes: Uint8Array): ReplayMessage {
  try {
    if (!hasMoreFields(ReplaySchema, bytes, MOST_FIELDS)) {
      return fromBinary(ReplaySchema, bytes, { readUnknownFields: false, recursionLimit: 4 });
    }
  } catch {
    throw frameInvalid("its replay is no message of this protocol");
  }
  throw frameInvalid(`its replay has more than ${MAX_HEADERS} checkpoints`);
}
