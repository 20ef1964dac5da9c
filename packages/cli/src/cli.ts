// The godwit command: finds the command among the words, runs it, and turns what went wrong into one line and an exit code.

import { suggestion } from "@godwit/common/config";
import { isFault } from "@godwit/common/fault";
import { cluster } from "./cluster/command.ts";
import type { Command } from "./command.ts";
import { recover, stop } from "./commands/agents.ts";
import { describe } from "./commands/describe.ts";
import { evidence } from "./commands/evidence.ts";
import { fund } from "./commands/fund.ts";
import { drain, hosts, peers } from "./commands/hosts.ts";
import { importCommand } from "./commands/import.ts";
import { inspect } from "./commands/inspect.ts";
import { logs } from "./commands/logs.ts";
import { migrate } from "./commands/migrate.ts";
import { newCommand } from "./commands/new.ts";
import { prices } from "./commands/prices.ts";
import { ps } from "./commands/ps.ts";
import { run } from "./commands/run.ts";
import { simulate } from "./commands/simulate.ts";
import { verify } from "./commands/verify.ts";
import { EXIT, type ExitCode, failureOf } from "./exit-code.ts";
import { toJson } from "./print/json.ts";
import type { Surroundings } from "./terminal.ts";

export const COMMANDS: readonly Command[] = [
  newCommand,
  simulate,
  run,
  importCommand,
  ps,
  describe,
  logs,
  migrate,
  fund,
  recover,
  stop,
  hosts,
  drain,
  prices,
  peers,
  verify,
  evidence,
  inspect,
  cluster,
];

/** Options that may stand before the command, and whether they have a value. */
const LEADING = new Map([
  ["--registry", true],
  ["--pricing", true],
  ["--timeout", true],
  ["--tls-ca", true],
  ["--tls-cert", true],
  ["--tls-key", true],
  ["--json", false],
]);

/** Never throws; prints results to `out` and what went wrong to `err`. */
export async function runCli(argv: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  const { terminal, signal } = surroundings;
  const { leading, name, rest } = splitCommand(argv);
  if (name === undefined) {
    const asked = argv.length === 0 || leading.some((word) => word === "--help" || word === "-h");
    if (!asked) terminal.err("error: CONFIG_INVALID: no command; godwit --help lists them\n");
    else terminal.out(usage());
    return asked && argv.length > 0 ? EXIT.ok : EXIT.usage;
  }
  const command = COMMANDS.find((candidate) => candidate.name === name);
  if (command === undefined) {
    const names = COMMANDS.map((candidate) => candidate.name);
    const hint = suggestion(name, names).replace("mean --", "mean ").replace("; --help", "; godwit --help");
    terminal.err(`error: CONFIG_INVALID: ${name}: there is no such command${hint}\n`);
    return EXIT.usage;
  }
  try {
    return await command.run([...leading, ...rest], surroundings);
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    const { code, message, exitCode } = failureOf(error);
    const isJson = argv.includes("--json");
    const hint = isFault(error, "CONFIG_INVALID") ? `; godwit ${name} --help lists the options` : "";
    terminal.err(
      isJson ? `${toJson({ error: { code, message, exitCode } })}\n` : `error: ${code}: ${message}${hint}\n`,
    );
    return exitCode;
  }
}

function splitCommand(argv: readonly string[]) {
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? "";
    if (!word.startsWith("-")) return { leading: argv.slice(0, index), name: word, rest: argv.slice(index + 1) };
    if (LEADING.get(word) === true) index++;
  }
  return { leading: argv, name: undefined, rest: [] };
}

function usage(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    "Usage: godwit COMMAND [options]",
    "",
    "Agents that move from host to host, and never run twice.",
    "",
    "Commands:",
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "Every command takes --json, --timeout, --registry, --pricing and --tls-ca, and tells all its options with --help.",
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found or ambiguous, 4 unavailable, 5 unreadable, 130 interrupted.",
    "",
  ].join("\n");
}
