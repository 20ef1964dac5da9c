// The size of the state is fixed when the agent is built: an agent gets no parameters.

import { copyFileSync, mkdirSync } from "node:fs";
import { main } from "assemblyscript/asc";

const sizes = { "4k": 4_096, "64k": 65_536, "1m": 1_048_576 };

mkdirSync("build", { recursive: true });
for (const [name, bytes] of Object.entries(sizes)) {
  const { error, stderr } = await main([
    "assembly/ballast.ts",
    "--outFile",
    `build/ballast-${name}.wasm`,
    ...["--runtime", "minimal", "--bindings", "none", "-O3", "--initialMemory", "2", "--maximumMemory", "1024"],
    ...["--use", "abort=", "--use", `BALLAST_BYTES=${bytes}`],
  ]);
  if (error !== null) {
    // oxlint-disable-next-line typescript/no-base-to-string -- a memory stream of asc, whose toString gives what was written
    console.error(stderr.toString());
    throw error;
  }
  copyFileSync("ballast.manifest.json", `build/ballast-${name}.manifest.json`);
}
