// Small integers side by side in as few 32-bit words as it takes. A field may lie across two words.

interface Place {
  readonly word: number;
  readonly shift: number;
  readonly bits: number;
}

export class BitLayout {
  readonly words: number;
  readonly #places: readonly Place[];

  /** `widths`: bits of each field, 1 to 31. */
  constructor(widths: readonly number[]) {
    let bit = 0;
    this.#places = widths.map((bits) => {
      const place = { word: bit >>> 5, shift: bit & 31, bits };
      bit += bits;
      return place;
    });
    this.words = (bit + 31) >>> 5;
  }

  pack(fields: Int32Array, words: Int32Array): void {
    words.fill(0);
    for (let at = 0; at < this.#places.length; at++) {
      const { word, shift, bits } = this.#places[at] as Place;
      const value = fields[at] as number;
      words[word] = (words[word] as number) | (value << shift);
      if (shift + bits > 32) words[word + 1] = (words[word + 1] as number) | (value >>> (32 - shift));
    }
  }

  unpack(words: Int32Array, fields: Int32Array): void {
    for (let at = 0; at < this.#places.length; at++) {
      const { word, shift, bits } = this.#places[at] as Place;
      let value = (words[word] as number) >>> shift;
      if (shift + bits > 32) value |= (words[word + 1] as number) << (32 - shift);
      fields[at] = value & (2 ** bits - 1);
    }
  }
}
