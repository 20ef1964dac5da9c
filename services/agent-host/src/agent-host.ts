import { defineService, type ServiceDefinition } from "@godwit/service";
import type { HostCrashPoint } from "./assemble.ts";
import { compose } from "./compose.ts";
import { hostOptions } from "./config.ts";
import { SOURCE_CRASH_POINTS, TARGET_CRASH_POINTS } from "./migration/crash-points.ts";

export const agentHost: ServiceDefinition<typeof hostOptions, HostCrashPoint> = defineService({
  name: "agent-host",
  summary: "Runs agents, checkpoints them, and moves them between hosts.",
  ports: { grpc: 7460, ops: 8460 },
  options: hostOptions,
  crashPoints: [...SOURCE_CRASH_POINTS, ...TARGET_CRASH_POINTS],
  compose,
});
