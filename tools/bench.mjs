// npm run bench -- NAME [--json FILE]: runs tests/bench/NAME.bench.ts on the built code.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { bootstrap, fail, root, run } from "./bootstrap.mjs";

const [name, ...args] = process.argv.slice(2).filter((arg) => arg !== "--");
const folder = join(root, "tests", "bench");
const names = existsSync(folder)
  ? readdirSync(folder)
      .filter((file) => file.endsWith(".bench.ts"))
      .map((file) => file.slice(0, -".bench.ts".length))
  : [];

if (name === undefined || name.startsWith("-")) fail(`which benchmark? There are: ${names.join(", ") || "none"}`);
if (!names.includes(name)) fail(`there is no benchmark ${name}. There are: ${names.join(", ") || "none"}`);

const node = bootstrap();
process.exitCode = await run(node, [join(folder, `${name}.bench.ts`), ...args]);
process.exit();
