// The states that were met: fixed-width vectors of 32-bit words, numbered in the order in which they came. Open addressing
// on typed arrays, since a JavaScript Set ends at 16.7 million entries.
//
// Numbers are dense and start at 0; a number never changes. The words are kept in pieces that never move; only the slots,
// four bytes each, are made anew when they are two thirds full.

const pieceBits = 16;
const pieceMask = (1 << pieceBits) - 1;

export class StateTable {
  readonly #width: number;
  readonly #pieces: Int32Array[] = [];
  #slots = new Int32Array(1 << 16);
  #size = 0;

  /** `width`: words per state. */
  constructor(width: number) {
    this.#width = width;
  }

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#slots.length * 4 + this.#pieces.length * this.#width * 4 * (pieceMask + 1);
  }

  /** The number of the state if it is new, otherwise -1 - its number. */
  add(words: Int32Array): number {
    if (this.#size * 3 >= this.#slots.length * 2) this.#grow();
    const width = this.#width;
    const slots = this.#slots;
    const slotMask = slots.length - 1;
    let slot = hashOf(words, 0, width) & slotMask;
    for (;;) {
      const held = slots[slot] as number;
      if (held === 0) break;
      const state = held - 1;
      const piece = this.#pieces[state >>> pieceBits] as Int32Array;
      const from = (state & pieceMask) * width;
      let same = true;
      for (let at = 0; at < width; at++) {
        if (piece[from + at] !== words[at]) {
          same = false;
          break;
        }
      }
      if (same) return -1 - state;
      slot = (slot + 1) & slotMask;
    }
    const state = this.#size++;
    slots[slot] = state + 1;
    if ((state & pieceMask) === 0) this.#pieces.push(new Int32Array((pieceMask + 1) * width));
    (this.#pieces[state >>> pieceBits] as Int32Array).set(words, (state & pieceMask) * width);
    return state;
  }

  read(state: number, into: Int32Array): void {
    const width = this.#width;
    const piece = this.#pieces[state >>> pieceBits] as Int32Array;
    const from = (state & pieceMask) * width;
    for (let at = 0; at < width; at++) into[at] = piece[from + at] as number;
  }

  #grow(): void {
    const width = this.#width;
    const slots = new Int32Array(this.#slots.length * 2);
    const slotMask = slots.length - 1;
    for (let state = 0; state < this.#size; state++) {
      const piece = this.#pieces[state >>> pieceBits] as Int32Array;
      let slot = hashOf(piece, (state & pieceMask) * width, width) & slotMask;
      while (slots[slot] !== 0) slot = (slot + 1) & slotMask;
      slots[slot] = state + 1;
    }
    this.#slots = slots;
  }
}

function hashOf(words: Int32Array, from: number, width: number): number {
  let hash = 0x9e3779b9 | 0;
  for (let at = 0; at < width; at++) {
    hash = Math.imul(hash ^ (words[from + at] as number), 0x85ebca6b);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 13)) >>> 0;
}
