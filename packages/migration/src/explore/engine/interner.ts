// Plain values as small integers: equal values, equal numbers. What a state is made of is kept once and named by number.

/** A text that two plain values share only if they are equal. Absent and undefined properties are the same. */
export function keyOf(value: unknown): string {
  switch (typeof value) {
    case "string":
      return `'${value}'`;
    case "bigint":
      return `${value}n`;
    case "number":
    case "boolean":
      return `${value}`;
    case "undefined":
      return "-";
    case "object":
      break;
    default:
      throw new TypeError(`a ${typeof value} cannot be part of a state`);
  }
  if (value === null) return "null";
  if (Array.isArray(value)) return `[${value.map(keyOf).join()}]`;
  if (value instanceof Map) return `map(${[...value].map(([name, part]) => `${keyOf(name)}=${keyOf(part)}`).join()})`;
  if (value instanceof Set) throw new TypeError("a set cannot be part of a state");
  if (value instanceof Uint8Array) return `bytes(${value.join()})`;
  const parts: string[] = [];
  for (const name of Object.keys(value).sort()) {
    const part = (value as Record<string, unknown>)[name];
    if (part !== undefined) parts.push(`${name}:${keyOf(part)}`);
  }
  return `{${parts.join()}}`;
}

export class Interner<T> {
  readonly #numbers = new Map<string, number>();
  readonly #values: T[] = [];
  /** Values that came from here are found without their text. */
  readonly #known = new WeakMap<object, number>();
  readonly #most: number;
  readonly #what: string;

  /** `bits`: how many the number may have in a packed state. */
  constructor(what: string, bits: number) {
    this.#what = what;
    this.#most = 2 ** bits;
  }

  get size(): number {
    return this.#values.length;
  }

  /** Throws RangeError when there are more than fit: the model is larger than its layout. */
  number(value: T): number {
    const isObject = typeof value === "object" && value !== null;
    const same = isObject ? this.#known.get(value) : undefined;
    if (same !== undefined) return same;
    const key = keyOf(value);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#values.length;
    if (number >= this.#most) throw new RangeError(`more than ${this.#most} different ${this.#what}: widen the layout`);
    this.#values.push(value);
    this.#numbers.set(key, number);
    if (isObject) this.#known.set(value, number);
    return number;
  }

  value(number: number): T {
    return this.#values[number] as T;
  }
}
