// npm run faults -- [frames|bytes|crash|partition|store] [--seed S] [--offsets N]: migrations that are broken on purpose, on the
// built code. --help tells the rest.

import { join } from "node:path";
import { bootstrap, root, run } from "./bootstrap.mjs";

const node = bootstrap();
const args = process.argv.slice(2).filter((arg) => arg !== "--");
process.exitCode = await run(node, [join(root, "tests", "faults", "main.ts"), ...args]);
process.exit();
