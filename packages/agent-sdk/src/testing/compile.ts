// Compiles AssemblyScript for a test: any file whose exports are to be called. Nothing is written.

import { readFile } from "node:fs/promises";
import { join } from "node:path";

export interface CompileOptions {
  /** Where paths begin and packages are looked for; the working directory by default. */
  readonly directory?: string;
  /** More of what asc takes. Without any `abort`, a failed `assert` is a mere trap. */
  readonly args?: readonly string[];
}

/** What is used of the compiler. Its own types redefine what is global in Node. */
interface Compiler {
  readonly main: (
    argv: readonly string[],
    io: {
      readonly readFile: (name: string, base: string) => null | Promise<string | null>;
      readonly writeFile: (name: string, contents: string | Uint8Array) => void;
    },
  ) => Promise<{ readonly error: Error | null; readonly stderr: { toString(): string } }>;
}

const compilerModule: string = "assemblyscript/asc";
const usual = [
  "--runtime",
  "minimal",
  "--bindings",
  "none",
  "--initialMemory",
  "2",
  "--maximumMemory",
  "1024",
  "--use",
  "abort=",
];

/** The module's bytes. asconfig.json is not looked at, since its entries would be compiled too. @throws Error with what the compiler says. */
export async function compile(entry: string, options: CompileOptions = {}): Promise<Uint8Array> {
  const { directory = process.cwd(), args = [] } = options;
  const { main } = (await import(compilerModule)) as Compiler;
  let module: Uint8Array | undefined;
  const argv = [entry, "--outFile", "out.wasm", "--baseDir", directory, ...usual, ...args];
  const { error, stderr } = await main(argv, {
    readFile: (name, base) => (name === "asconfig.json" ? null : readFile(join(base, name), "utf8").catch(() => null)),
    writeFile: (_, contents) => {
      if (typeof contents !== "string") module = new Uint8Array(contents);
    },
  });
  if (error !== null || module === undefined) throw new Error(`${entry}: ${stderr.toString()}`);
  return module;
}
