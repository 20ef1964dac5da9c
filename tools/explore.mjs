// npm run explore -- [MODEL...] [--list] [--max-states N] [--workers N]: the exhaustive explorer, on the built code.

import { join } from "node:path";
import { bootstrap, root, run } from "./bootstrap.mjs";

const args = process.argv.slice(2).filter((arg) => arg !== "--");
const node = bootstrap();
process.exitCode = await run(node, [join(root, "packages", "migration", "dist", "explore", "main.js"), ...args]);
process.exit();
