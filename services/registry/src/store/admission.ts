// Which steps a store takes under which mark: the one place that knows what a quarantine lets through (GA-6).
//
// A step is given the mark under which its caller decided, and the store compares that as a whole in the same atomic step.
// Whether it is in quarantine, and for which store it was written, stand in the mark; so once it is the stored one, what is
// decided here from its bytes holds in that step too, and costs no round trip.
//
// 1. A mark is good on a connection to the store for which it was written, and on no other: the identity was asked on that
//    very connection before anything else.
// 2. In quarantine there are the session commands (open, renew, close, reassert, announce), and what those have to read.
// 3. What is reasserted is written in quarantine only (GA-7).

import { statementIn } from "../mark/mark.ts";
import { MarkMismatch, type RegistryStore, StepRefused } from "./registry-store.ts";

export type StoreStep = Exclude<
  keyof RegistryStore,
  "kind" | "where" | "start" | "stop" | "trouble" | "readMark" | "replaceMark"
>;

type When = "always" | "out-of-quarantine" | "in-quarantine";

const STEPS: Readonly<Record<StoreStep, When>> = {
  openSession: "always",
  renewSession: "always",
  closeSession: "always",
  reassertSession: "in-quarantine",
  readSessions: "always",
  readOpenSessions: "always",
  readAgents: "always",
  applyReasserted: "in-quarantine",
  announce: "always",
  apply: "out-of-quarantine",
  findAgents: "out-of-quarantine",
  readHistory: "out-of-quarantine",
  findAgentsToOffer: "out-of-quarantine",
  findAgentsOfSession: "out-of-quarantine",
  putHost: "out-of-quarantine",
  readHosts: "out-of-quarantine",
  readHostsSeen: "out-of-quarantine",
  setDraining: "out-of-quarantine",
  countOutcome: "out-of-quarantine",
};

/** Throws MarkMismatch on a store of another identity, StepRefused when the mark does not let this step through. */
export function admit(step: StoreStep, mark: Uint8Array, liveIdentity: string): void {
  const { storeIdentity, quarantine } = statementIn(mark);
  if (storeIdentity !== liveIdentity) throw new MarkMismatch();
  const when = STEPS[step];
  if (when === "always" || (when === "in-quarantine") === quarantine) return;
  throw new StepRefused(step, quarantine);
}

/** Whether a new mark begins another incarnation: then no session is known any more (SL-2). */
export function beginsIncarnation(before: Uint8Array | undefined, after: Uint8Array): boolean {
  return before === undefined || !isSameIncarnation(before, after);
}

function isSameIncarnation(before: Uint8Array, after: Uint8Array): boolean {
  try {
    return statementIn(before).incarnation === statementIn(after).incarnation;
  } catch {
    return false; // damaged bytes had none
  }
}
