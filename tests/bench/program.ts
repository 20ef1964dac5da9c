// What every benchmark is as a program: its flags, Ctrl-C, a bound on its time, its table, its file. The only place of the
// benchmarks that sees process.*.

import { type Options, option, readCommandLine, type ValuesOf } from "@godwit/common/config";
import { isFault } from "@godwit/common/fault";
import { type Figure, writeFigures } from "./figures.ts";
import { figureTable } from "./table.ts";

export interface Bench<O extends Options> {
  readonly name: string;
  readonly summary: string;
  readonly options: O;
  readonly run: (run: Run<O>) => Promise<Results>;
}

export interface Run<O extends Options> {
  readonly options: ValuesOf<O>;
  /** Aborts at Ctrl-C and when time is up. */
  readonly signal: AbortSignal;
  /** A line of progress. */
  readonly say: (line: string) => void;
}

export interface Results {
  readonly figures: readonly Figure[];
  /** Lines below the table: where the time goes, what was checked. */
  readonly notes: readonly string[];
}

const INTERRUPTED = 130;

const common = {
  json: option.text({ optional: true, help: "Also write the figures to this file." }),
  limitMs: option.duration({
    fallback: 1_200_000,
    min: 1_000,
    max: 7_200_000,
    help: "The benchmark fails when it takes longer.",
  }),
} as const satisfies Options;

/** Runs it and sets the exit code: 0, 1 for what went wrong, 2 for wrong flags, 130 after Ctrl-C. */
export async function runBench<const O extends Options>(bench: Bench<O>): Promise<void> {
  const interruption = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (interruption.signal.aborted && name === "SIGINT") process.exit(INTERRUPTED);
      interruption.abort(new Error(`interrupted by ${name}`));
    });
  }
  const say = (line: string) => process.stderr.write(`· ${line}\n`);
  try {
    process.exitCode = await runWith(bench, interruption.signal, say);
  } catch (error) {
    const { signal } = interruption;
    process.stderr.write(`${signal.aborted ? "interrupted" : `error: ${textOf(error)}`}\n`);
    process.exitCode = signal.aborted ? INTERRUPTED : isFault(error, "CONFIG_INVALID") ? 2 : 1;
  }
}

async function runWith<const O extends Options>(
  { name, summary, options, run }: Bench<O>,
  interrupted: AbortSignal,
  say: (line: string) => void,
): Promise<number> {
  const commandLine = { name: `pnpm bench ${name}`, summary };
  const given = { argv: process.argv.slice(2), env: process.env };
  const all = readCommandLine({ ...commandLine, options: { ...common, ...options } as typeof common & O }, given);
  if (all.kind === "help") {
    process.stdout.write(all.text);
    return 0;
  }
  const { json, limitMs } = all.options as ValuesOf<typeof common>;
  const signal = AbortSignal.any([interrupted, AbortSignal.timeout(limitMs)]);
  const { figures, notes } = await run({ options: all.options as ValuesOf<O>, signal, say });
  process.stdout.write(`\n${[...figureTable(figures), ...(notes.length === 0 ? [] : ["", ...notes])].join("\n")}\n`);
  if (json !== undefined) await writeFigures(json, name, figures);
  return 0;
}

function textOf(error: unknown): string {
  if (isFault(error)) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
