// Long lists of 32-bit integers in pieces, so that growing never copies and nothing is ever larger than one piece.

const bits = 18;
const size = 1 << bits;
const mask = size - 1;

export class Int32List {
  readonly #pieces: Int32Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#pieces.length * size * 4;
  }

  push(value: number): void {
    const at = this.#length++;
    if ((at & mask) === 0) this.#pieces.push(new Int32Array(size));
    (this.#pieces[at >>> bits] as Int32Array)[at & mask] = value;
  }

  at(index: number): number {
    return (this.#pieces[index >>> bits] as Int32Array)[index & mask] as number;
  }

  set(index: number, value: number): void {
    (this.#pieces[index >>> bits] as Int32Array)[index & mask] = value;
  }
}
