// One declaration of an option gives its flag, its environment variable, its check, its type and its help text.

import {
  type Address,
  addressKind,
  bytesKind,
  choiceKind,
  durationKind,
  flagKind,
  integerKind,
  type Kind,
  listKind,
  type MoneyRules,
  moneyKind,
  type Range,
  type TextRules,
  textKind,
} from "./kinds.ts";

export interface Option<V> {
  readonly kind: Kind<unknown>;
  /** What it is for, in one sentence. */
  readonly help: string;
  /** The flag without its dashes, if it is not the name of the property. */
  readonly flag?: string;
  /** A letter. */
  readonly short?: string;
  readonly presence: "required" | "optional" | { readonly fallback: V };
}

export type Options = Readonly<Record<string, Option<unknown>>>;

export type ValuesOf<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer V> ? V : never };

export interface About<T> {
  readonly help: string;
  readonly flag?: string;
  readonly short?: string;
  /** The value when neither flag nor variable is given. Without it, and unless `optional`, the option is required. */
  readonly fallback?: T;
  /** The value may be missing: undefined. */
  readonly optional?: true;
}

type ValueOf<T, A> = A extends { readonly optional: true } ? T | undefined : T;

export const option = {
  text: <const A extends About<string> & TextRules>(about: A): Option<ValueOf<string, A>> =>
    declare(textKind(about), about),

  integer: <const A extends About<number> & Range>(about: A): Option<ValueOf<number, A>> =>
    declare(integerKind(about), about),

  /** Milliseconds. A property that ends in `Ms` loses that in its flag: `leaseDurationMs` is `--lease-duration`. */
  duration: <const A extends About<number> & Range>(about: A): Option<ValueOf<number, A>> =>
    declare(durationKind(about), about),

  bytes: <const A extends About<number> & Range>(about: A): Option<ValueOf<number, A>> =>
    declare(bytesKind(about), about),

  money: <const A extends About<bigint> & MoneyRules>(about: A): Option<ValueOf<bigint, A>> =>
    declare(moneyKind(about), about),

  /** "host:port". */
  address: <const A extends About<Address>>(about: A): Option<ValueOf<Address, A>> => declare(addressKind(), about),

  /** False when it is not given, unless a fallback says otherwise; `--no-name` turns it off. */
  flag: (about: Omit<About<boolean>, "optional">): Option<boolean> =>
    declare<boolean, boolean>(flagKind(), { fallback: false, ...about }),

  choice: <const C extends string, const A extends About<C>>(
    choices: readonly [C, ...C[]],
    about: A,
  ): Option<ValueOf<C, A>> => declare(choiceKind(choices), about),

  /** With commas between the values; the flag may also be repeated. Empty when it is not given. */
  list: (about: Omit<About<readonly string[]>, "optional"> & TextRules): Option<readonly string[]> =>
    declare<readonly string[], readonly string[]>(listKind(textKind(about)), { fallback: [], ...about }),
};

function declare<T, V extends T | undefined>(kind: Kind<T>, about: About<T>): Option<V> {
  const { help, flag, short, fallback, optional } = about;
  return {
    kind,
    help,
    ...(flag === undefined ? {} : { flag }),
    ...(short === undefined ? {} : { short }),
    presence: fallback !== undefined ? { fallback: fallback as T & V } : optional === true ? "optional" : "required",
  };
}

/** `leaseDurationMs` → `lease-duration` for a duration, `redisUrl` → `redis-url`. */
export function flagOf(property: string, { flag, kind }: Option<unknown>): string {
  if (flag !== undefined) return flag;
  const base = kind.placeholder === "DURATION" ? property.replace(/Ms$/, "") : property;
  return base.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export const ENV_PREFIX = "GODWIT_";

/** `lease-duration` → `GODWIT_LEASE_DURATION`. */
export function variableOf(flag: string): string {
  return ENV_PREFIX + flag.replaceAll("-", "_").toUpperCase();
}
