// The timeline of a run, for people: what happened when and to whom. Nothing in it depends on the machine, so that two runs
// of one seed give the same text.

import { type Logger, pino } from "pino";
import type { Timeline } from "./time/timeline.ts";

export interface Trace {
  say(who: string, what: string): void;
  /** For the production code of a process. */
  logger(who: string): Logger;
}

export const silence: Trace = {
  say: () => {},
  logger: () => quiet,
};

const quiet = pino({ level: "silent" });

export function traceTo(timeline: Timeline, print: (line: string) => void): Trace {
  const say = (who: string, what: string) => {
    print(`${(timeline.nowMs / 1_000).toFixed(4).padStart(10)}  ${who.padEnd(10)}  ${what}`);
  };
  return {
    say,
    logger: (who) =>
      pino(
        {
          level: "debug",
          base: null,
          timestamp: false,
          serializers: { err: (error: unknown) => (error instanceof Error ? error.message : String(error)) },
        },
        { write: (line: string) => say(who, readable(line)) },
      ),
  };
}

function readable(line: string): string {
  const { level: _level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${shorten(value)}`);
  return ["·", msg, ...rest].join(" ");
}

/** Ids are told apart by their first characters. */
export function shorten(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.replace(/\b([0-9a-f]{8})[0-9a-f]{24,}\b/g, "$1").replace(/\b12D3KooW\w{36}(\w{8})\b/g, "…$1");
}
