// The event log of a segment of an agent's life: what its host answered it, tick by tick.
//
//   version  1 byte   1
//   then for each tick, in order:
//   tick     varint   the first as it is, each other less the one before; never 0 then
//   length   varint
//   events   bytes    as in event.ts

import { Fault } from "@godwit/common/fault";
import { EventReader } from "./event.ts";
import { ByteReader, MalformedEvents } from "./reader.ts";
import { maxVarintBytes, putVarint, putVarint64 } from "./varint.ts";

export interface RecordedTick {
  readonly tick: bigint;
  /** `TickResult.events` of that tick. */
  readonly events: Uint8Array;
}

/** A tick to be run again. */
export interface TickToRepeat extends RecordedTick {
  /** Of the state after it, SHA-256 in hex, where that is known: another state is a divergence. */
  readonly stateDigest?: string | undefined;
}

const version = 1;
/** A log that is longer is refused: hosts checkpoint long before. */
export const maxEventLogBytes = 16 << 20;
export const maxEventLogTicks = 65_536;

/** @throws RangeError if the ticks do not ascend: the host numbers them, so that is a bug */
export function encodeEventLog(ticks: readonly RecordedTick[]): Uint8Array {
  const most = ticks.reduce((sum, { events }) => sum + events.length + 2 * maxVarintBytes, 1);
  const bytes = new Uint8Array(most);
  bytes[0] = version;
  let at = 1;
  let before: bigint | undefined;
  for (const { tick, events } of ticks) {
    if (before !== undefined && tick <= before) throw new RangeError(`tick ${tick} cannot follow tick ${before}`);
    at = putVarint64(bytes, at, tick - (before ?? 0n));
    at = putVarint(bytes, at, events.length);
    bytes.set(events, at);
    at += events.length;
    before = tick;
  }
  return bytes.slice(0, at);
}

/** Total over any bytes. The events of each tick are views of what was given. @throws Fault EVENT_LOG_INVALID */
export function decodeEventLog(bytes: Uint8Array): readonly RecordedTick[] {
  try {
    return readTicks(bytes);
  } catch (cause) {
    if (!(cause instanceof MalformedEvents)) throw cause;
    throw new Fault({ code: "EVENT_LOG_INVALID", reason: `it ${cause.message}` }, { cause });
  }
}

function readTicks(bytes: Uint8Array): readonly RecordedTick[] {
  if (bytes.length > maxEventLogBytes) {
    throw new MalformedEvents(`has ${bytes.length} bytes; at most ${maxEventLogBytes} are read`);
  }
  const reader = new ByteReader(bytes);
  const found = reader.byte();
  if (found !== version) throw new MalformedEvents(`has version ${found}; version ${version} is read`);
  const ticks: RecordedTick[] = [];
  let before: bigint | undefined;
  while (!reader.done) {
    if (ticks.length === maxEventLogTicks) {
      throw new MalformedEvents(`has more than ${maxEventLogTicks} ticks`);
    }
    const step = reader.varint64();
    if (before !== undefined && step === 0n) throw new MalformedEvents(`has tick ${before} twice`);
    const tick = (before ?? 0n) + step;
    if (tick > 0xffff_ffff_ffff_ffffn) throw new MalformedEvents(`has a tick that is too large after ${before}`);
    const events = reader.bytes(reader.varint());
    checkEvents(events, tick);
    ticks.push({ tick, events });
    before = tick;
  }
  return ticks;
}

function checkEvents(events: Uint8Array, tick: bigint): void {
  const reader = new EventReader(events);
  try {
    while (!reader.done) reader.next();
  } catch (cause) {
    if (!(cause instanceof MalformedEvents)) throw cause;
    throw new MalformedEvents(`${cause.message} of the calls in tick ${tick}`, { cause });
  }
}
