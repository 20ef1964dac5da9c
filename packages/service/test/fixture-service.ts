// A service with nothing in it, for the tests of runService.

import { option } from "@godwit/common/config";
import { Fault } from "@godwit/common/fault";
import { defineService, part, runService } from "../src/index.ts";

const fixture = defineService({
  name: "fixture",
  summary: "Does nothing.",
  ports: { grpc: 17_443, ops: 17_444 },
  options: {
    workEveryMs: option.duration({ fallback: 10, help: "How often it works." }),
    trouble: option.choice(["none", "unready", "compose", "start", "stop", "hang", "bug", "rejection", "fatal"], {
      fallback: "none",
      help: "What goes wrong.",
    }),
  },
  crashPoints: ["work.before", "work.after"],
  compose: ({ options, clock, readiness, logger, crashPoints, fatal }) => {
    if (options.trouble === "compose") throw new Fault({ code: "DATA_DIRECTORY_LOCKED", path: "data", by: "another" });
    let ready = options.trouble !== "unready";
    process.once("SIGUSR2", () => {
      ready = true;
    });
    readiness.add("signal", () => (ready ? undefined : "waits for SIGUSR2"));
    const working = new AbortController();
    const work = async () => {
      // Two, so that one of them still waits when the other is being written.
      logger.info("work is looked for");
      logger.info("work begins");
      for (;;) {
        crashPoints.reach("work.before");
        await clock.sleep(options.workEveryMs, working.signal);
        crashPoints.reach("work.after");
      }
    };
    return [
      part("work", {
        start: async () => {
          if (options.trouble === "start") throw new Error("the part did not start");
          work().catch(() => logger.info("work ended"));
          if (options.trouble === "bug") setImmediate(() => JSON.parse("{"));
          if (options.trouble === "rejection") void Promise.reject(new Error("nobody listens"));
          if (options.trouble === "fatal") setImmediate(() => fatal(new Error("the disk is gone")));
        },
        stop: async () => {
          working.abort();
          if (options.trouble === "stop") throw new Error("the part did not stop");
          if (options.trouble === "hang") await new Promise(() => {});
        },
      }),
    ];
  },
  commands: {
    init: { summary: "Prepares it.", run: async ({ options, print }) => print(`prepared ${options.trouble}`) },
    fail: {
      summary: "Fails.",
      run: async () => {
        throw new Fault({ code: "STORE_ALREADY_INITIALIZED", where: "here" });
      },
    },
  },
});

await runService(fixture, process);
