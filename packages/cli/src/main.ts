// The only place of the command that sees process.*.

import { runCli } from "./cli.ts";
import { EXIT } from "./exit-code.ts";

const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    // Whoever interrupts twice does not want to wait.
    if (interruption.signal.aborted && signal === "SIGINT") process.exit(EXIT.interrupted);
    interruption.abort(new Error(`interrupted by ${signal}`));
  });
}
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(EXIT.ok); // the reader has seen enough
});

process.exitCode = await runCli(process.argv.slice(2), {
  terminal: {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    isTerminal: process.stdout.isTTY === true && process.env["TERM"] !== "dumb",
    columns: () => process.stdout.columns ?? 80,
    rows: () => process.stdout.rows ?? 24,
  },
  env: process.env,
  workingDirectory: process.cwd(),
  signal: interruption.signal,
});
