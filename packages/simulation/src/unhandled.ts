import { ProcessEnded } from "./time/sim-process.ts";

/** Code of simulated processes that have died may leave rejections behind; of all others each is a bug. */
export function ignoreEndedProcesses(): void {
  process.on("unhandledRejection", (reason) => {
    if (!(reason instanceof ProcessEnded)) throw reason;
  });
}
