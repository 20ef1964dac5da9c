export { type Armed, CRASH_ACTIONS, type CrashAction, CrashPoints, type CrashPointsRules } from "./crash-points.ts";
export { Lifecycle, type LifecycleEvent, type Part, part } from "./lifecycle.ts";
export { createLogger, LOG_LEVELS, type Logger, type LoggerRules, type LogLevel } from "./logger.ts";
export { createMetrics, grpcCallObserver } from "./metrics.ts";
export { OpsServer, type OpsServerParts } from "./ops-server.ts";
export { type Missing, Readiness, type ReadinessCheck } from "./readiness.ts";
export { runService } from "./run-service.ts";
export {
  type CommandContext,
  defineService,
  type GrpcContext,
  type HealthyServer,
  type ServiceCommand,
  type ServiceContext,
  type ServiceDefinition,
} from "./service-definition.ts";
export {
  advertisedAddress,
  type Ports,
  type SharedOptions,
  type SharedValues,
  sharedOptions,
  type Tls,
} from "./shared-options.ts";
