// Virtual time: a queue of what happens, in order. Time moves only when nothing is left to do at the present moment.
//
// 1. What happens next is decided by time, then by the order in which it was asked for. Nothing else has a say.
// 2. All that follows from one happening without time or I/O (microtasks) is over before the next one begins.
// 3. Real I/O, where code has some before it is under way, is waited for while time stands still, and alone.

export interface Happening {
  readonly atMs: number;
  cancel(): void;
}

interface Entry extends Happening {
  readonly order: number;
  run: (() => void) | undefined;
}

/** So many happenings without time passing, and nobody will ever let it: a loop that waits for nothing. */
const MOST_STEPS_AT_ONCE = 1_000_000;

/** Each immediate costs a turn through Node; between two of one turn it drains its microtasks too. */
const STEPS_PER_TURN = 64;

export class Timeline {
  #nowMs = 0;
  #order = 0;
  #steps = 0;
  /** When a whole millisecond had last passed, and the happenings until then. */
  #passed = { atMs: 0, steps: 0 };
  readonly #later: Entry[] = [];
  #soon: (() => void)[] = [];
  #soonAt = 0;
  #realWork = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Happenings so far. */
  get steps(): number {
    return this.#steps;
  }

  /** After what is waiting already, without time passing. */
  soon(run: () => void): void {
    this.#soon.push(run);
  }

  at(atMs: number, run: () => void): Happening {
    const entry: Entry = {
      atMs: Math.max(atMs, this.#nowMs),
      order: this.#order++,
      run,
      cancel: () => {
        entry.run = undefined;
      },
    };
    push(this.#later, entry);
    return entry;
  }

  after(ms: number, run: () => void): Happening {
    return this.at(this.#nowMs + Math.max(0, ms), run);
  }

  /** Work with real I/O: nothing else happens until it is over. */
  async real<T>(work: () => Promise<T>): Promise<T> {
    this.#realWork++;
    try {
      return await work();
    } finally {
      this.#realWork--;
    }
  }

  /** Lets things happen until `isOver`, which is asked before each of them. Rejects when nothing is left to happen, or time stands still. */
  async runUntil(isOver: () => boolean): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      let ended = false;
      const step = () => {
        if (ended || this.#realWork > 0) return;
        try {
          if (isOver()) {
            ended = true;
            resolve();
          } else if (this.#standsStill()) {
            ended = true;
            reject(new Error(`time stands still at ${this.#nowMs} ms: somebody goes round without waiting`));
          } else if (!this.#step()) {
            ended = true;
            reject(new Error(`nothing is left to happen at ${this.#nowMs} ms`));
          }
        } catch (error) {
          ended = true;
          reject(error);
        }
      };
      const turn = () => {
        step();
        if (ended) return;
        for (let i = 1; i < STEPS_PER_TURN; i++) setImmediate(step);
        setImmediate(turn);
      };
      setImmediate(turn); // what the caller has begun goes on first
    });
  }

  #standsStill(): boolean {
    if (this.#nowMs - this.#passed.atMs >= 1) this.#passed = { atMs: this.#nowMs, steps: this.#steps };
    return this.#steps - this.#passed.steps > MOST_STEPS_AT_ONCE;
  }

  #step(): boolean {
    const soon = this.#soon[this.#soonAt];
    if (soon !== undefined) {
      this.#soonAt++;
      if (this.#soonAt === this.#soon.length) {
        this.#soon = [];
        this.#soonAt = 0;
      }
      this.#steps++;
      soon();
      return true;
    }
    for (;;) {
      const next = pop(this.#later);
      if (next === undefined) return false;
      if (next.run === undefined) continue;
      this.#nowMs = next.atMs;
      this.#steps++;
      next.run();
      return true;
    }
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Entry[], entry: Entry): void {
  let at = heap.length;
  heap.push(entry);
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above] as Entry;
    if (!isBefore(entry, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = entry;
}

function pop(heap: Entry[]): Entry | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || first === last) return first;
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    const right = left + 1;
    if (left >= heap.length) break;
    const least = right < heap.length && isBefore(heap[right] as Entry, heap[left] as Entry) ? right : left;
    if (!isBefore(heap[least] as Entry, last)) break;
    heap[at] = heap[least] as Entry;
    at = least;
  }
  heap[at] = last;
  return first;
}
