// What tests of an agent under its supervisor begin with.

import { isFault } from "@godwit/common/fault";
import { expect } from "vitest";
import { AgentPlace } from "./agent-place.ts";

export const patient = { timeout: 60_000 };

/** An agent that ticked once at the start, when the registry granted it at once. */
export async function ticking(...args: Parameters<AgentPlace["supervise"]>) {
  const place = await AgentPlace.create();
  const supervisor = await place.supervise(...args);
  expect(supervisor.tick).toBe(1n);
  return { place, supervisor };
}

/** The code of the fault that it ends with, or "none". */
export async function faultOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "none",
    (cause: unknown) => (isFault(cause) ? cause.code : String(cause)),
  );
}
