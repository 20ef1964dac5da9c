import { Fault } from "../fault/index.ts";
import {
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

/** `process.env`, or what a test puts in its place. */
export type Env = Readonly<Record<string, string | undefined>>;

interface Fallback<T> {
  /** Without one, the variable is required. */
  readonly fallback?: T;
}

/**
 * Reads environment variables for a process that has no command line. Problems are collected and thrown by `finish`
 * together. A variable that is set to nothing counts as not set, as container files leave them.
 */
export class EnvReader {
  readonly #env: Env;
  readonly #prefix: string;
  readonly #problems = new Map<string, string>();

  constructor(env: Env, prefix: string) {
    this.#env = env;
    this.#prefix = prefix;
  }

  text(name: string, rules: TextRules & Fallback<string> = {}): string {
    return this.#read(name, textKind(rules), rules);
  }

  integer(name: string, rules: Range & Fallback<number> = {}): number {
    return this.#read(name, integerKind(rules), rules);
  }

  /** Milliseconds, from "500ms", "10s", "2m" or a bare number. */
  duration(name: string, rules: Range & Fallback<number> = {}): number {
    return this.#read(name, durationKind(rules), rules);
  }

  money(name: string, rules: MoneyRules & Fallback<bigint> = {}): bigint {
    return this.#read(name, moneyKind(rules), rules);
  }

  flag(name: string, { fallback = false }: Fallback<boolean> = {}): boolean {
    return this.#read(name, flagKind(), { fallback });
  }

  choice<const C extends string>(name: string, choices: readonly [C, ...C[]], rules: Fallback<C> = {}): C {
    return this.#read(name, choiceKind(choices), rules);
  }

  list(name: string, { fallback = [], ...rules }: TextRules & Fallback<readonly string[]> = {}): readonly string[] {
    return this.#read(name, listKind(textKind(rules)), { fallback });
  }

  /** A relation between values. It is not looked at when a variable that `otherwise` names is wrong by itself. */
  require(holds: boolean, otherwise: string): void {
    const named = [...this.#problems.keys()].some((name) => otherwise.includes(name));
    if (!holds && !named) this.#problems.set(otherwise, otherwise);
  }

  /** The config itself; throws one Fault CONFIG_INVALID that names every bad variable. */
  finish<T>(config: T): T {
    if (this.#problems.size > 0) throw new Fault({ code: "CONFIG_INVALID", problems: [...this.#problems.values()] });
    return config;
  }

  #read<T>(name: string, kind: Kind<T>, { fallback }: Fallback<T>): T {
    const variable = this.#prefix + name;
    const text = this.#env[variable];
    if (text === undefined || text === "") {
      if (fallback !== undefined) return fallback;
      this.#problems.set(name, `${variable}: required`);
      return kind.standIn;
    }
    const parsed = kind.parse(text);
    if (parsed.ok) return parsed.value;
    this.#problems.set(name, `${variable}: ${parsed.problem}`);
    return kind.standIn;
  }
}
