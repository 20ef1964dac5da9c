// Three shared numbers per worker: which kind of call into an agent runs there and since when, how many requests it has begun, and how far
// the replay under way has come.
//
// The worker writes the first around every call, so the host can tell how long an agent has really been running, however late its own timers
// and messages are. The monotonic clock of the operating system is the same in all threads.

export type CallKind = "tick" | "call";

/** What runs in a worker at the moment. */
export type Beat = { readonly kind: "idle" } | { readonly kind: CallKind; readonly sinceNs: bigint };

export interface CallLimits {
  readonly tickTimeoutMs: number;
  readonly callTimeoutMs: number;
}

export type Verdict =
  | { readonly kind: "idle" }
  | { readonly kind: "running"; readonly leftMs: number }
  | { readonly kind: "overdue"; readonly call: CallKind; readonly ranNs: bigint };

const codes = { tick: 1n, call: 2n } as const;

export class Pulse {
  readonly buffer: SharedArrayBuffer;
  readonly #word: BigInt64Array;
  readonly #count: Int32Array;
  readonly #replayed: Int32Array;
  readonly #nowNs: () => bigint;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(16), nowNs: () => bigint = monotonicNs) {
    this.buffer = buffer;
    this.#nowNs = nowNs;
    this.#word = new BigInt64Array(buffer, 0, 1);
    this.#count = new Int32Array(buffer, 8, 1);
    this.#replayed = new Int32Array(buffer, 12, 1);
  }

  /** The worker begins its next request. */
  next(): void {
    Atomics.add(this.#count, 0, 1);
  }

  /** How many more requests than so many it has begun; the count may have gone round. */
  begunSince(answered: number): number {
    return (Atomics.load(this.#count, 0) - answered) | 0;
  }

  /** Kind and time share a word, so that nobody reads the time of one call with the kind of another. */
  begin(kind: CallKind): bigint {
    const sinceNs = this.#nowNs();
    Atomics.store(this.#word, 0, (sinceNs << 2n) | codes[kind]);
    return sinceNs;
  }

  end(): bigint {
    Atomics.store(this.#word, 0, 0n);
    return this.#nowNs();
  }

  /** Ticks of the request under way that were replayed. */
  get replayed(): number {
    return Atomics.load(this.#replayed, 0);
  }

  set replayed(ticks: number) {
    Atomics.store(this.#replayed, 0, ticks);
  }

  read(): Beat {
    const word = Atomics.load(this.#word, 0);
    const code = word & 3n;
    if (code === 0n) return { kind: "idle" };
    return { kind: code === codes.tick ? "tick" : "call", sinceNs: word >> 2n };
  }
}

/** Whether what runs has had its time. */
export function judge(beat: Beat, nowNs: bigint, limits: CallLimits): Verdict {
  if (beat.kind === "idle") return { kind: "idle" };
  const ranNs = nowNs - beat.sinceNs;
  const limitMs = beat.kind === "tick" ? limits.tickTimeoutMs : limits.callTimeoutMs;
  const leftNs = BigInt(limitMs) * 1_000_000n - ranNs;
  if (leftNs > 0n) return { kind: "running", leftMs: Number(leftNs) / 1e6 };
  return { kind: "overdue", call: beat.kind, ranNs };
}

export function monotonicNs(): bigint {
  return process.hrtime.bigint();
}
