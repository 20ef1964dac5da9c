// The command line of a service or a command, read together with the environment: flag, else variable, else fallback.
// All problems are reported together, in one Fault CONFIG_INVALID, and nothing is optional afterwards that was not
// declared so.

import { parseArgs } from "node:util";
import { Fault } from "../fault/index.ts";
import type { Env } from "./env-reader.ts";
import { helpText } from "./help.ts";
import { flagOf, type Option, type Options, type ValuesOf, variableOf } from "./option.ts";
import { suggestion } from "./suggestion.ts";

/** A word on the command line that is no option. */
export interface Argument<V> {
  readonly help: string;
  readonly presence: "required" | "optional" | "many";
  /** Only for its type. */
  readonly value?: V;
}

export const argument = {
  required: (help: string): Argument<string> => ({ help, presence: "required" }),
  optional: (help: string): Argument<string | undefined> => ({ help, presence: "optional" }),
  /** All that follow; none is fine. Must be the last. */
  many: (help: string): Argument<readonly string[]> => ({ help, presence: "many" }),
};

export type Arguments = Readonly<Record<string, Argument<unknown>>>;

export type ArgumentsOf<A extends Arguments> = {
  readonly [K in keyof A]: A[K] extends Argument<infer V> ? V : never;
};

/** What must hold between options. */
export interface Relation<O extends Options> {
  /** Looked at only when all of these are right by themselves. */
  readonly of: readonly (keyof O & string)[];
  readonly holds: (values: ValuesOf<O>) => boolean;
  /** Says which must be what: "--lease-renew-every must be under half of --lease-duration". */
  readonly otherwise: string;
}

export interface CommandLine<O extends Options, A extends Arguments = Record<never, never>> {
  /** How it is called: `godwit migrate`. */
  readonly name: string;
  /** What it does, in a sentence or two. */
  readonly summary: string;
  readonly options: O;
  readonly arguments?: A;
  readonly relations?: readonly Relation<O>[];
}

export type CommandLineResult<O extends Options, A extends Arguments> =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "run"; readonly options: ValuesOf<O>; readonly arguments: ArgumentsOf<A> };

export interface Given {
  /** Without the program itself: `process.argv.slice(2)`. */
  readonly argv: readonly string[];
  readonly env: Env;
}

/** `--help` wins over everything, problems included. */
export function readCommandLine<const O extends Options, const A extends Arguments = Record<never, never>>(
  commandLine: CommandLine<O, A>,
  given: Given,
): CommandLineResult<O, A> {
  const { options } = commandLine;
  const words = readWords(options, given.argv);
  if (words.help) return { kind: "help", text: helpText(commandLine) };

  const problems: string[] = [...words.problems];
  const wrong = new Set<string>();
  const values: Record<string, unknown> = {};
  for (const [property, declared] of Object.entries(options)) {
    const outcome = readOption(property, declared, words.given.get(property), given.env);
    if (outcome.ok) {
      values[property] = outcome.value;
    } else {
      problems.push(outcome.problem);
      wrong.add(property);
    }
  }
  for (const { of, holds, otherwise } of commandLine.relations ?? []) {
    if (!of.some((property) => wrong.has(property)) && !holds(values as ValuesOf<O>)) problems.push(otherwise);
  }
  const positional = readPositional(commandLine.arguments ?? {}, words.positional);
  // After an unknown flag nobody knows which word was its value.
  if (!words.unknown) problems.push(...positional.problems);

  if (problems.length > 0) throw new Fault({ code: "CONFIG_INVALID", problems });
  return {
    kind: "run",
    options: values as ValuesOf<O>,
    arguments: positional.values as ArgumentsOf<A>,
  };
}

interface Words {
  readonly help: boolean;
  /** By property, in the order given. */
  readonly given: ReadonlyMap<string, readonly string[]>;
  readonly positional: readonly string[];
  readonly unknown: boolean;
  readonly problems: readonly string[];
}

function readWords(options: Options, argv: readonly string[]): Words {
  const propertyOf = new Map<string, string>();
  const declared: Record<string, { type: "string" | "boolean"; short?: string; multiple: boolean }> = {
    help: { type: "boolean", short: "h", multiple: true },
  };
  for (const [property, { kind, short, flag }] of Object.entries(options)) {
    const name = flag ?? flagOf(property, options[property] as Option<unknown>);
    propertyOf.set(name, property);
    const type = kind.placeholder === "" ? "boolean" : "string";
    declared[name] = { type, multiple: true, ...(short === undefined ? {} : { short }) };
  }

  const given = new Map<string, string[]>();
  const positional: string[] = [];
  const problems: string[] = [];
  let help = false;
  let unknown = false;
  const { tokens } = parseArgs({
    args: [...argv],
    options: declared,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === "positional") positional.push(token.value);
    if (token.kind !== "option") continue;
    if (token.name === "help") {
      help = true;
      continue;
    }
    const negated = token.name.startsWith("no-") && declared[token.name.slice(3)]?.type === "boolean";
    const name = negated ? token.name.slice(3) : token.name;
    const property = propertyOf.get(name);
    if (property === undefined) {
      unknown = true;
      problems.push(
        `${token.rawName}: there is no such option${suggestion(token.name, [...propertyOf.keys(), "help"])}`,
      );
      continue;
    }
    const isSwitch = declared[name]?.type === "boolean";
    const text = token.value ?? (isSwitch ? String(!negated) : undefined);
    if (text === undefined || (token.inlineValue === false && /^-\D/.test(text))) {
      problems.push(`${token.rawName}: needs a value; write ${token.rawName}=VALUE if that begins with a dash`);
      continue;
    }
    given.set(property, [...(given.get(property) ?? []), text]);
  }
  return { help, given, positional, unknown, problems };
}

type Outcome = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly problem: string };

function readOption(
  property: string,
  declared: Option<unknown>,
  given: readonly string[] | undefined,
  env: Env,
): Outcome {
  const flag = flagOf(property, declared);
  const variable = variableOf(flag);
  if (given !== undefined) {
    const isList = Array.isArray(declared.kind.standIn);
    if (given.length > 1 && !isList) return { ok: false, problem: `--${flag}: given more than once` };
    return parseFrom(`--${flag}`, declared, given.join(","));
  }
  const text = env[variable];
  if (text !== undefined && text !== "") return parseFrom(variable, declared, text);
  if (declared.presence === "required") {
    return { ok: false, problem: `--${flag} or ${variable}: required: ${declared.help}` };
  }
  return { ok: true, value: declared.presence === "optional" ? undefined : declared.presence.fallback };
}

function parseFrom(source: string, { kind }: Option<unknown>, text: string): Outcome {
  const parsed = kind.parse(text);
  return parsed.ok ? parsed : { ok: false, problem: `${source}: ${parsed.problem}` };
}

function readPositional(declared: Arguments, words: readonly string[]) {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  let used = 0;
  for (const [name, { presence, help }] of Object.entries(declared)) {
    if (presence === "many") {
      values[name] = words.slice(used);
      used = words.length;
      continue;
    }
    const word = words[used];
    if (word !== undefined) used++;
    else if (presence === "required") problems.push(`${name.toUpperCase()}: required: ${help}`);
    values[name] = word;
  }
  for (const word of words.slice(used)) problems.push(`${JSON.stringify(word)}: not expected`);
  return { values, problems };
}
