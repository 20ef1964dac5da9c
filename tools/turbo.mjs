// turbo with what it needs around it: our pnpm and Node 24 on the PATH, and no telemetry. For the scripts in package.json.

import { join } from "node:path";
import { prepare, root, run } from "./bootstrap.mjs";

prepare();
process.exitCode = await run(join(root, "node_modules", ".bin", "turbo"), process.argv.slice(2));
process.exit();
