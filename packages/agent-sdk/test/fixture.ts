import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "../src/testing/compile.ts";

const sdk = fileURLToPath(new URL("..", import.meta.url));
const withAbort = ["--use", "abort=~lib/@godwit/agent-sdk/assembly/abort/abort"];

/** Compiles a file of fixtures/assembly, for which the SDK stands where an installed one would. */
export async function compileFixture(name: string, ...args: readonly string[]): Promise<Uint8Array> {
  const packages = mkdtempSync(join(tmpdir(), "godwit-sdk-"));
  try {
    mkdirSync(join(packages, "@godwit"));
    symlinkSync(sdk, join(packages, "@godwit", "agent-sdk"));
    return await compile(`fixtures/assembly/${name}.ts`, {
      directory: sdk,
      args: ["--path", packages, ...withAbort, ...args],
    });
  } finally {
    rmSync(packages, { recursive: true });
  }
}
