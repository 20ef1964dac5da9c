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

/** In the middle of its next tick, which goes on when what this gives is called. */
export async function heldInTick(place: AgentPlace): Promise<() => void> {
  const held = Promise.withResolvers<void>();
  const inTick = Promise.withResolvers<void>();
  place.sandbox.next.push({
    during: async () => {
      inTick.resolve();
      await held.promise;
    },
  });
  await place.clock.advanceToNext();
  await inTick.promise;
  return () => held.resolve();
}

/** The code of the fault that it ends with, or "none". */
export async function faultOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "none",
    (cause: unknown) => (isFault(cause) ? cause.code : String(cause)),
  );
}
