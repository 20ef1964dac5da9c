// A process that runs seeds, one at a time, as it is told over IPC.

import { defaultAgentDirectory } from "../agent-directory.ts";
import { runSeed } from "../run-seed.ts";
import { ignoreEndedProcesses } from "../unhandled.ts";
import type { FromWorker, ToWorker } from "./run-many.ts";

ignoreEndedProcesses();
// Ctrl-C reaches every process of the group: who started this one ends it.
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit());
process.on("message", (what: ToWorker) => {
  const answer = (message: FromWorker) => process.send?.(message);
  runSeed({ ...what, agentDirectory: defaultAgentDirectory }).then(
    (report) => answer({ kind: "report", report }),
    (error: unknown) =>
      answer({
        kind: "failed",
        seed: what.seed,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
  );
});
