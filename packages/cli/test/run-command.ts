import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCli } from "../src/cli.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunRules {
  readonly registry: string;
  readonly pricing: string;
  readonly signal?: AbortSignal;
  readonly onOut?: (text: string) => void;
}

/** Runs the command in this process, as main.ts would, and gives what it printed. */
export async function runCommand(
  argv: readonly string[],
  { registry, pricing, signal = new AbortController().signal, onOut = () => {} }: RunRules,
): Promise<Ran> {
  let out = "";
  let err = "";
  // Where no cluster runs.
  const workingDirectory = mkdtempSync(join(tmpdir(), "godwit-cli-"));
  const running = runCli(argv, {
    terminal: {
      out: (text) => {
        out += text;
        onOut(text);
      },
      err: (text) => {
        err += text;
      },
      isTerminal: false,
      columns: () => 80,
      rows: () => 24,
    },
    env: { GODWIT_REGISTRY: registry, GODWIT_PRICING: pricing },
    workingDirectory,
    signal,
  });
  const code = await running.finally(() => rmSync(workingDirectory, { recursive: true, force: true }));
  return { code, out, err };
}
