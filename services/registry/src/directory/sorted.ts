// A list that stays in order while single items come and go: found by halving, moved by one copy.

export class Sorted<T> {
  readonly #items: T[] = [];
  readonly #compare: (a: T, b: T) => number;

  /** `compare` is 0 for nothing but the item itself. */
  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get items(): readonly T[] {
    return this.#items;
  }

  add(item: T): void {
    this.#items.splice(this.#place(item), 0, item);
  }

  /** Does nothing when it is not there. */
  remove(item: T): void {
    const at = this.#place(item);
    const found = this.#items[at];
    if (found !== undefined && this.#compare(found, item) === 0) this.#items.splice(at, 1);
  }

  #place(item: T): number {
    return firstThat(this.#items, (other) => this.#compare(other, item) >= 0);
  }
}

/** Where the items begin for which it holds, which come after all for which it does not. */
export function firstThat<T>(items: readonly T[], holds: (item: T) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(items[middle] as T)) high = middle;
    else low = middle + 1;
  }
  return low;
}
