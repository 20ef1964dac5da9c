// Breaks streams at a chosen frame, for tests and for `npm start -- --once`. Nothing unless the process was started with
// --allow-crash-points. Real streams break: what was cut is reset, what was swallowed never arrives.
//
// A fault is written DIRECTION:FRAME[:NTH]:ACTION, as seen from the process that has it: `send:handoff-end:cut-after`,
// `receive:started:swallow`, `send:state:2:delay=250`. It strikes once, at the NTH such frame from when it was armed.

import type { Clock } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { MigrationFrameKind } from "@godwit/migration";
import type { FrameStream } from "./framed-stream.ts";

export const FAULT_FRAMES = [
  "offer",
  "module",
  "replay",
  "replay-end",
  "spine",
  "checkpoint",
  "state",
  "handoff",
  "handoff-end",
  "accept",
  "prepared",
  "started",
  "refused",
] as const satisfies readonly MigrationFrameKind[];

export type StreamFaultAction =
  /** The stream is reset; the frame does not pass. */
  | { readonly kind: "cut-before" }
  /** The frame passes, then the stream is reset. */
  | { readonly kind: "cut-after" }
  /** The frame does not pass; the stream lives on. */
  | { readonly kind: "swallow" }
  /** The frame passes; nothing after it does, in either direction, and nobody is told. */
  | { readonly kind: "swallow-after" }
  | { readonly kind: "delay"; readonly ms: number };

export interface StreamFault {
  readonly direction: "send" | "receive";
  readonly frame: MigrationFrameKind;
  /** From 1. */
  readonly nth: number;
  readonly action: StreamFaultAction;
}

export interface StreamFaultsParts {
  readonly clock: Clock;
  /** Told of each fault that strikes, so that a test knows that it did. */
  readonly onStrike: (fault: string) => void;
}

const MAX_DELAY_MS = 600_000;

export class StreamFaults {
  readonly allowed: boolean;
  readonly #parts: StreamFaultsParts;
  #armed: { readonly text: string; readonly fault: StreamFault; left: number }[] = [];

  constructor(parts: StreamFaultsParts, { allowed }: { readonly allowed: boolean }) {
    this.#parts = parts;
    this.allowed = allowed;
  }

  armed(): readonly string[] {
    return this.#armed.map(({ text }) => text);
  }

  /** Throws Fault INVALID_ARGUMENT for what is no fault, and when the process was not started for this. */
  arm(text: string): void {
    if (!this.allowed) {
      throw refused("allow-crash-points", "stream faults are off: start the process with this flag");
    }
    const fault = parseStreamFault(text);
    this.#armed.push({ text, fault, left: fault.nth });
  }

  disarm(): void {
    this.#armed = [];
  }

  /** The stream itself unless faults are allowed at all. */
  wrap(stream: FrameStream, kindOf: { readonly sent: FrameKindOf; readonly received: FrameKindOf }): FrameStream {
    return this.allowed ? new FaultyStream(stream, this, kindOf) : stream;
  }

  /** What has to happen to this frame; undefined nearly always. */
  strike(direction: StreamFault["direction"], frame: MigrationFrameKind | undefined): StreamFaultAction | undefined {
    for (const waiting of this.#armed) {
      if (waiting.fault.direction !== direction || waiting.fault.frame !== frame) continue;
      if (--waiting.left > 0) continue;
      this.#armed = this.#armed.filter((other) => other !== waiting);
      this.#parts.onStrike(waiting.text);
      return waiting.fault.action;
    }
    return undefined;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return this.#parts.clock.sleep(ms, signal);
  }
}

/** Undefined for bytes that are no frame. */
export type FrameKindOf = (frame: Uint8Array) => MigrationFrameKind | undefined;

class FaultyStream implements FrameStream {
  readonly #stream: FrameStream;
  readonly #faults: StreamFaults;
  readonly #kindOf: { readonly sent: FrameKindOf; readonly received: FrameKindOf };
  #silent = false;
  #cutBeforeRead = false;

  constructor(
    stream: FrameStream,
    faults: StreamFaults,
    kindOf: { readonly sent: FrameKindOf; readonly received: FrameKindOf },
  ) {
    this.#stream = stream;
    this.#faults = faults;
    this.#kindOf = kindOf;
  }

  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#cutBeforeRead) throw this.#cut();
      const frame = await this.#stream.read(signal);
      if (frame === undefined) return undefined;
      if (this.#silent) continue;
      const action = this.#faults.strike("receive", this.#kindOf.received(frame));
      switch (action?.kind) {
        case "cut-before":
          throw this.#cut();
        case "cut-after":
          this.#cutBeforeRead = true;
          return frame;
        case "swallow":
          continue;
        case "swallow-after":
          this.#silent = true;
          return frame;
        case "delay":
          await this.#faults.sleep(action.ms, signal);
          return frame;
        case undefined:
          return frame;
      }
    }
  }

  async write(frames: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    let passing: Uint8Array[] = [];
    const flush = async () => {
      if (passing.length > 0) await this.#stream.write(passing, signal);
      passing = [];
    };
    for (const frame of frames) {
      if (this.#silent) break;
      const action = this.#faults.strike("send", this.#kindOf.sent(frame));
      switch (action?.kind) {
        case "cut-before":
          await flush();
          throw await this.#cutGently(signal);
        case "cut-after":
          passing.push(frame);
          await flush();
          throw await this.#cutGently(signal);
        case "swallow":
          break;
        case "swallow-after":
          passing.push(frame);
          this.#silent = true;
          break;
        case "delay":
          await flush();
          await this.#faults.sleep(action.ms, signal);
          passing.push(frame);
          break;
        case undefined:
          passing.push(frame);
      }
    }
    await flush();
  }

  async close(signal: AbortSignal): Promise<void> {
    if (this.#silent) return;
    await this.#stream.close(signal);
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }

  #cut(): Error {
    const reason = new Error("cut by a stream fault");
    this.#stream.abort(reason);
    return reason;
  }

  /** What was written before has to arrive, which a reset at once would not let it. */
  async #cutGently(signal: AbortSignal): Promise<Error> {
    await this.#stream.close(signal).catch(() => {}); // it is being broken anyway
    return this.#cut();
  }
}

/** Throws Fault INVALID_ARGUMENT. */
export function parseStreamFault(text: string): StreamFault {
  const shape = "write it like DIRECTION:FRAME:ACTION or DIRECTION:FRAME:NTH:ACTION";
  const parts = text.split(":");
  if (parts.length < 3 || parts.length > 4) throw refused("stream-faults", `${JSON.stringify(text)}: ${shape}`);
  const [direction, name, ...rest] = parts;
  if (direction !== "send" && direction !== "receive") {
    throw refused("stream-faults", `${JSON.stringify(text)}: the direction is send or receive`);
  }
  const frame = FAULT_FRAMES.find((known) => known === name);
  if (frame === undefined) {
    throw refused("stream-faults", `${JSON.stringify(text)}: the frame is one of ${FAULT_FRAMES.join(", ")}`);
  }
  const nth = rest.length === 2 ? Number(rest[0]) : 1;
  if (!Number.isInteger(nth) || nth < 1) throw refused("stream-faults", `${JSON.stringify(text)}: ${shape}`);
  return { direction, frame, nth, action: parseAction(rest.at(-1) ?? "", text) };
}

function parseAction(action: string, text: string): StreamFaultAction {
  if (action === "cut-before" || action === "cut-after" || action === "swallow" || action === "swallow-after") {
    return { kind: action };
  }
  const [, digits] = /^delay=(\d{1,6})$/.exec(action) ?? [];
  const ms = Number(digits ?? Number.NaN);
  if (ms <= MAX_DELAY_MS) return { kind: "delay", ms };
  throw refused(
    "stream-faults",
    `${JSON.stringify(text)}: the action is cut-before, cut-after, swallow, swallow-after or delay=MS`,
  );
}

function refused(field: string, reason: string): Fault {
  return new Fault({ code: "INVALID_ARGUMENT", field, reason });
}
