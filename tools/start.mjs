// npm start: the cluster in one command. What it takes: npm start -- --help

import { bootstrap, root, run } from "./bootstrap.mjs";

const node = bootstrap();
process.exitCode = await run(node, [`${root}/packages/cli/bin/godwit.js`, "cluster", ...process.argv.slice(2)]);
process.exit();
