import { type DestinationStream, type Logger, pino, stdSerializers, stdTimeFunctions } from "pino";

export type { Logger } from "pino";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerRules {
  readonly service: string;
  readonly level: LogLevel;
}

/**
 * One JSON object a line, to standard output unless told otherwise, written before the call returns: what was logged
 * just before a crash is there. Errors go into `err`; level `error` means that somebody must act.
 */
export function createLogger({ service, level }: LoggerRules, destination?: DestinationStream): Logger {
  const rules = {
    base: { service },
    level,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: stdSerializers.errWithCause },
  };
  return pino(rules, destination ?? standardOutput());
}

/**
 * Synchronous, which pino's own default is not: that one has a write under way in another thread while the process ends, so
 * that the last lines come in the wrong order, or after a crash not at all.
 */
function standardOutput(): DestinationStream {
  return pino.destination({ dest: 1, sync: true });
}
