// Between an agent's calls and what answers them. In a tick it records every call, the failing ones too; in a replay it answers from
// such a record instead, and compares what the agent asks with what it asked then.
//
// T-1  What follows from the arguments and the agent's own memory is `settled`: a replay works it out again and compares. What comes from
//      outside is `given` when live and `taken` from the record in a replay.
// T-2  A refusal and a divergence count even if the agent catches what is thrown at it, and so does a call that never ended because the
//      stack did: whoever runs the tick has to look at `flaw` afterwards.
// T-3  Outside of ticks (start, resume) nothing is recorded, and a replay answers as a live host would.

import { hash } from "node:crypto";
import { EventReader, maxVerbatimBytes, type RecordedCall } from "../events/event.ts";
import { MalformedEvents } from "../events/reader.ts";
import { maxVarintBytes, putVarint } from "../events/varint.ts";
import { EventWriter } from "../events/writer.ts";

/** What a hostcall throws into the agent. */
export class CallRefused extends Error {
  override readonly name = "CallRefused";
}

export interface Divergence {
  /** Which call of the tick, the first is 0. */
  readonly call: number;
  readonly reason: string;
}

const mostNumbers = 2;

export class Tape {
  readonly #maxEventBytes: number;
  readonly #writer: EventWriter;
  readonly #arguments = new Uint8Array(mostNumbers * maxVarintBytes + maxVerbatimBytes);
  #argumentBytes = 0;
  #mode: "off" | "record" | "replay" = "off";
  #reader: EventReader | undefined;
  #functionId = 0;
  #inCall = false;
  #calls = 0;
  #flaw: string | undefined;
  #divergence: Divergence | undefined;

  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes;
    this.#writer = new EventWriter(maxEventBytes);
  }

  get replaying(): boolean {
    return this.#mode === "replay";
  }

  record(): void {
    this.#reset("record");
    this.#writer.clear();
  }

  replay(events: Uint8Array): void {
    this.#reset("replay");
    this.#reader = new EventReader(events);
  }

  off(): void {
    this.#reset("off");
  }

  /** What was recorded since `record`; undefined if there was no call. */
  recorded(): Uint8Array | undefined {
    return this.#writer.taken();
  }

  /** Calls of this tick that have ended. */
  get calls(): number {
    return this.#calls;
  }

  /** Why the tick is not to count, although the agent may have gone on (T-2). */
  get flaw(): string | undefined {
    if (this.#flaw !== undefined) return this.#flaw;
    return this.#inCall ? "one of its calls of the host did not come to an end" : undefined;
  }

  /** Where this tick is no repetition of the recorded one, as far as is known. */
  get divergence(): Divergence | undefined {
    return this.#divergence;
  }

  /** After the tick: it must have asked for everything that it asked for then. */
  close(): void {
    if (this.#mode !== "replay" || this.#divergence !== undefined) return;
    if (this.#reader?.done === false) {
      this.#divergence = { call: this.#calls, reason: "the agent ended its tick before it made this call" };
    }
  }

  begin(functionId: number): void {
    this.#inCall = true;
    this.#functionId = functionId;
    this.#argumentBytes = 0;
  }

  /** A length, an index, a capacity: an unsigned number of 32 bits. */
  number(value: number): void {
    this.#argumentBytes = putVarint(this.#arguments, this.#argumentBytes, value);
  }

  /** What the agent handed in; its length has to be among the numbers. */
  content(bytes: Uint8Array): void {
    if (this.#mode === "off") return;
    const shown = bytes.length > maxVerbatimBytes ? hash("sha256", bytes, "buffer") : bytes;
    this.#arguments.set(shown, this.#argumentBytes);
    this.#argumentBytes += shown.length;
  }

  settled<T extends number | bigint>(result: T): T {
    if (this.#mode !== "replay") return this.given(result);
    const recorded = this.taken();
    if (recorded.result !== BigInt(result) || recorded.payload.length > 0) {
      this.diverge(`the host answers this call with ${result}, the record with ${recorded.result}`);
    }
    return this.ended(result);
  }

  given<T extends number | bigint>(result: T, payload?: Uint8Array): T {
    if (this.#mode === "record") {
      const args = this.#arguments.subarray(0, this.#argumentBytes);
      if (!this.#writer.add(this.#functionId, args, result, payload)) {
        this.refuse(`its calls of the host in one tick take more than ${this.#maxEventBytes} bytes of event log`);
      }
    }
    return this.ended(result);
  }

  /** The next call of the record, which must be this one. Its answer has to go through `ended`. */
  taken(): RecordedCall {
    const recorded = this.#next();
    if (recorded.functionId !== this.#functionId) {
      this.diverge(`the agent calls function ${this.#functionId}, the record has function ${recorded.functionId}`);
    }
    if (!equal(recorded.args, this.#arguments.subarray(0, this.#argumentBytes))) {
      this.diverge(`the agent calls function ${this.#functionId} with other arguments than in the record`);
    }
    return recorded;
  }

  ended<T extends number | bigint>(result: T): T {
    this.#calls += 1;
    this.#inCall = false;
    return result;
  }

  diverge(reason: string): never {
    this.#divergence ??= { call: this.#calls, reason };
    throw new CallRefused(reason);
  }

  refuse(reason: string): never {
    this.#flaw ??= reason;
    throw new CallRefused(reason);
  }

  #next(): RecordedCall {
    const reader = this.#reader;
    if (reader === undefined) throw new Error("there is no record to replay");
    if (reader.done) this.diverge(`the agent calls function ${this.#functionId} after the record has ended`);
    try {
      return reader.next();
    } catch (error) {
      if (!(error instanceof MalformedEvents)) throw error;
      return this.diverge(`the record ${error.message}`);
    }
  }

  #reset(mode: "off" | "record" | "replay"): void {
    this.#mode = mode;
    this.#reader = undefined;
    this.#inCall = false;
    this.#calls = 0;
    this.#flaw = undefined;
    this.#divergence = undefined;
  }
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false;
  return true;
}
