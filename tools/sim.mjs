// npm run sim -- [--seeds N] [--from S] [--seed N --trace]: the simulator, on the built code. --help tells the rest.

import { join } from "node:path";
import { bootstrap, root, run } from "./bootstrap.mjs";

const node = bootstrap();
const args = process.argv.slice(2).filter((arg) => arg !== "--");
process.exitCode = await run(node, [join(root, "packages", "simulation", "dist", "main.js"), ...args]);
process.exit();
