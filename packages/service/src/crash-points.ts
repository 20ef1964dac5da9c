// Places in the code at which a test can end or freeze the process for real. They are nothing unless the process was
// started with --allow-crash-points and a point was armed since: by --crash-at, or through the ops HTTP.
//
// A point that is reached says so in one line on standard error, written before the signal, so that a test knows that
// its fault has fired.

import { writeSync } from "node:fs";
import { Fault } from "@godwit/common/fault";

export const CRASH_ACTIONS = ["crash", "stop"] as const;

/** `crash` is SIGKILL; `stop` is SIGSTOP, and the process goes on from the very point after a SIGCONT. */
export type CrashAction = (typeof CRASH_ACTIONS)[number];

export interface Armed<Name extends string> {
  readonly point: Name;
  /** At which time from now on that it is reached, from 1. */
  readonly nth: number;
  readonly action: CrashAction;
}

export interface CrashPointsRules<Name extends string> {
  /** All points that there are. */
  readonly points: readonly Name[];
  readonly allowed: boolean;
  /** What to do to this process; by default the real thing. */
  readonly strike?: (armed: Armed<string>) => void;
}

export class CrashPoints<Name extends string> {
  readonly points: readonly Name[];
  readonly allowed: boolean;
  readonly #strike: (armed: Armed<string>) => void;
  /** What is left until each strikes. Empty is the normal case, and costs a look-up. */
  readonly #armed = new Map<string, { readonly armed: Armed<string>; left: number }>();

  constructor({ points, allowed, strike = strikeThisProcess }: CrashPointsRules<Name>) {
    this.points = points;
    this.allowed = allowed;
    this.#strike = strike;
  }

  /** Does not return if the process is to crash here. */
  reach(point: Name): void {
    const waiting = this.#armed.get(point);
    if (waiting === undefined || --waiting.left > 0) return;
    this.#armed.delete(point);
    this.#strike(waiting.armed);
  }

  armed(): readonly Armed<string>[] {
    return [...this.#armed.values()].map(({ armed }) => armed);
  }

  /** Throws Fault INVALID_ARGUMENT for a point that does not exist, and when the process was not started for this. */
  arm({ point, nth, action }: { readonly point: string; readonly nth: number; readonly action: string }): void {
    if (!this.allowed) throw refused("allow-crash-points", "crash points are off: start the process with this flag");
    const known = this.points.find((name) => name === point);
    if (known === undefined)
      throw refused("point", `there is no ${JSON.stringify(point)}, only ${this.points.join(", ")}`);
    if (!Number.isInteger(nth) || nth < 1) throw refused("nth", `${nth} is not a number of times: give 1 or more`);
    const act = CRASH_ACTIONS.find((name) => name === action);
    if (act === undefined) throw refused("action", `${JSON.stringify(action)} is none of ${CRASH_ACTIONS.join(", ")}`);
    this.#armed.set(known, { armed: { point: known, nth, action: act }, left: nth });
  }

  /** Arms "claim.before-reply", "claim.before-reply:2" or "claim.before-reply:2:stop". */
  armText(text: string): void {
    const [point = "", nth = "1", action = "crash", ...more] = text.split(":");
    if (more.length > 0)
      throw refused("crash-at", `${JSON.stringify(text)}: write it like POINT, POINT:2 or POINT:2:stop`);
    this.arm({ point, nth: nth === "" ? 1 : Number(nth), action });
  }

  disarm(): void {
    this.#armed.clear();
  }
}

function strikeThisProcess({ point, nth, action }: Armed<string>): void {
  writeSync(2, `crash point ${point} reached (${nth}): ${action}\n`);
  process.kill(process.pid, action === "crash" ? "SIGKILL" : "SIGSTOP");
  if (action === "stop") return;
  // The signal is there before anything else happens; should it not be, nothing may happen on this thread.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function refused(field: string, reason: string): Fault {
  return new Fault({ code: "INVALID_ARGUMENT", field, reason });
}
