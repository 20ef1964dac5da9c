// Length-prefixed frames over one libp2p stream, with backpressure both ways.
//
// 1. Never more than `highWaterBytes` and one frame are held of what came in: above it the stream is paused, so that the
//    muxer stops sending window updates. The muxer's own buffer has to hold a whole window (node.ts).
// 2. A write resolves once at most `writeHighWaterBytes` are queued, and rejects when the stream ends while it waits.
// 3. The end of a stream proves nothing: `read` gives undefined for a clean end between two frames, and it is the
//    protocol's business to know whether everything had been said.

import { Fault } from "@godwit/common/fault";
import type { Stream, StreamCloseEvent } from "@libp2p/interface";
import { Uint8ArrayList } from "uint8arraylist";

export interface FrameRules {
  /** Of one frame, without its length. */
  readonly maxFrameBytes: number;
  readonly highWaterBytes: number;
  readonly writeHighWaterBytes: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_FRAME_RULES: FrameRules = {
  maxFrameBytes: MIB,
  highWaterBytes: MIB,
  writeHighWaterBytes: MIB,
};

/** What the drivers of protocols need of a stream; stream faults wrap it. */
export interface FrameStream {
  /** The next frame; undefined at a clean end. Throws Fault FRAME_INVALID, or the reason why the stream broke. */
  read(signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** All of them in one go, so that small ones leave in one packet. */
  write(frames: readonly Uint8Array[], signal: AbortSignal): Promise<void>;
  /** What was written is handed over first; for as long as the signal lets it. */
  close(signal: AbortSignal): Promise<void>;
  abort(reason: Error): void;
}

/** What frames travel over: a libp2p stream, as far as it is used here. */
export type ByteStream = Pick<
  Stream,
  | "abort"
  | "addEventListener"
  | "close"
  | "pause"
  | "readStatus"
  | "readableEnded"
  | "removeEventListener"
  | "resume"
  | "send"
  | "status"
  | "writeBufferLength"
>;

const MAX_PREFIX_BYTES = 5;

export class FramedStream implements FrameStream {
  readonly #stream: ByteStream;
  readonly #rules: FrameRules;
  readonly #buffer = new Uint8ArrayList();
  #wake: (() => void) | undefined;
  #ended = false;
  #error: Error | undefined;
  #paused = false;
  #resuming = false;

  constructor(stream: ByteStream, rules: FrameRules = DEFAULT_FRAME_RULES) {
    this.#stream = stream;
    const highWaterBytes = Math.max(rules.highWaterBytes, rules.maxFrameBytes + MAX_PREFIX_BYTES);
    this.#rules = { ...rules, highWaterBytes };
    stream.addEventListener("message", ({ data }) => {
      this.#buffer.append(data);
      this.#pauseIfFull();
      this.#wake?.();
    });
    // `end` comes after the last byte was delivered; `remoteCloseWrite` would lose what a pause holds back.
    const onEnd = () => {
      this.#ended = true;
      this.#wake?.();
    };
    stream.addEventListener("end", onEnd);
    stream.addEventListener("close", (event) => {
      if (event.error !== undefined && event.error !== null) this.#error ??= event.error;
      onEnd();
    });
    if (stream.readableEnded) onEnd();
  }

  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    let length = 0;
    let factor = 1;
    for (let at = 0; ; at++, factor *= 128) {
      if (at === MAX_PREFIX_BYTES) throw invalid("the length of a frame is malformed");
      if (!(await this.#has(at + 1, signal))) {
        if (at === 0) return undefined;
        throw invalid("the stream ends inside a frame");
      }
      const byte = this.#buffer.get(at);
      length += (byte & 0x7f) * factor;
      if (byte < 0x80) return await this.#take(at + 1, length, signal);
    }
  }

  async write(frames: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const bytes = new Uint8ArrayList();
    for (const frame of frames) {
      bytes.append(lengthPrefix(frame.byteLength));
      bytes.append(frame);
    }
    try {
      this.#stream.send(bytes);
    } catch (cause) {
      throw asError(cause);
    }
    // `send` says "full" as soon as a socket buffer of 64 KiB is; the stream's own queue may grow first.
    while (this.#stream.writeBufferLength > this.#rules.writeHighWaterBytes) await drained(this.#stream, signal);
  }

  async close(signal: AbortSignal): Promise<void> {
    try {
      await this.#stream.close({ signal });
    } catch (cause) {
      throw asError(cause);
    }
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }

  async #take(prefix: number, length: number, signal: AbortSignal): Promise<Uint8Array> {
    const { maxFrameBytes } = this.#rules;
    if (length > maxFrameBytes) throw invalid(`a frame of ${length} bytes is above the limit of ${maxFrameBytes}`);
    if (!(await this.#has(prefix + length, signal))) throw invalid("the stream ends inside a frame");
    this.#buffer.consume(prefix);
    const frame = this.#buffer.subarray(0, length);
    this.#buffer.consume(length);
    this.#resumeIfLow();
    return frame;
  }

  /** Whether so many bytes are there; false when no more will come. */
  async #has(bytes: number, signal: AbortSignal): Promise<boolean> {
    while (this.#buffer.byteLength < bytes) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) {
        const { status } = this.#stream;
        // A reset that came before we listened leaves nothing but the status.
        if (status === "reset" || status === "aborted") throw new Error(`the stream was ${status}`);
        return false;
      }
      signal.throwIfAborted();
      this.#resume(); // one frame may need more than the low-water mark
      if (this.#buffer.byteLength >= bytes) break;
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = () => resolve();
      this.#wake = wake;
      signal.addEventListener("abort", wake, { once: true });
      await promise;
      signal.removeEventListener("abort", wake);
      this.#wake = undefined;
    }
    return true;
  }

  #pauseIfFull(): void {
    if (this.#resuming || this.#paused || this.#buffer.byteLength <= this.#rules.highWaterBytes) return;
    if (this.#stream.readStatus !== "readable") return;
    this.#paused = true;
    this.#stream.pause();
  }

  #resumeIfLow(): void {
    if (this.#buffer.byteLength <= this.#rules.highWaterBytes / 2) this.#resume();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#stream.readStatus !== "paused") return;
    // It delivers what it holds at once and only then opens the window: a pause from inside that delivery would be undone,
    // so it has to wait until it is over.
    this.#resuming = true;
    try {
      this.#stream.resume();
    } catch (cause) {
      this.#error ??= asError(cause); // the connection is gone
    } finally {
      this.#resuming = false;
    }
    this.#pauseIfFull();
  }
}

/** The stream's own `onDrain` keeps its first promise: only the first wait would be one. */
function drained(stream: ByteStream, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      stream.removeEventListener("drain", onDrain);
      stream.removeEventListener("close", onClose);
      signal.removeEventListener("abort", onAbort);
    };
    const onDrain = () => {
      leave();
      resolve();
    };
    const onClose = (event: StreamCloseEvent) => {
      leave();
      reject(event.error ?? new Error("the stream was closed"));
    };
    const onAbort = () => {
      leave();
      reject(signal.reason);
    };
    if (signal.aborted) return reject(signal.reason);
    if (stream.status !== "open" && stream.status !== "closing")
      return reject(new Error(`the stream is ${stream.status}`));
    stream.addEventListener("drain", onDrain);
    stream.addEventListener("close", onClose);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** libp2p rejects with events at times, and with errors of its own at others. */
export function asError(cause: unknown): Error {
  if (cause instanceof Error) return cause;
  const { error, type } = (cause ?? {}) as { readonly error?: unknown; readonly type?: unknown };
  return error instanceof Error ? error : new Error(`the stream ended (${String(type ?? cause)})`);
}

function lengthPrefix(length: number): Uint8Array {
  const bytes: number[] = [];
  let left = length;
  for (; left >= 0x80; left = Math.floor(left / 128)) bytes.push((left & 0x7f) | 0x80);
  bytes.push(left);
  return Uint8Array.from(bytes);
}

function invalid(reason: string): Fault {
  return new Fault({ code: "FRAME_INVALID", reason });
}
