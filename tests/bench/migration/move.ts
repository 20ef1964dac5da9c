import type { HostNode } from "@godwit/testing";

/** One move that went through at the first attempt. */
export interface Move {
  /** Of the final checkpoint. */
  readonly tick: bigint;
  readonly blackoutMs: number;
  readonly totalMs: number;
  readonly bytesAfterFreeze: number;
  readonly sentModule: boolean;
  /** From the step before to this one. */
  readonly phaseMs: Readonly<Record<Phase, number>>;
}

/** The source's steps, in their order; `done` is the end of the migration there. */
export const phases = ["prepared", "frozen", "begun", "relinquished", "handed-off", "started", "done"] as const;
export type Phase = (typeof phases)[number];

/** Throws for a move that did not go through at the first attempt. */
export async function migrate(
  source: HostNode,
  request: { readonly agentId: string; readonly targetHostId: string },
  signal: AbortSignal,
): Promise<Move> {
  const atMs = new Map<string, number>();
  for await (const { atMs: at, event } of source.host.migrateAgent(request, { signal })) {
    if (event.case === "step") atMs.set(event.value.step, at);
    if (event.case === "attemptFailed" || event.case === "givenUp") {
      throw new Error(`the move from ${source.name} failed with ${event.value.code}: ${event.value.message}`);
    }
    if (event.case !== "done") continue;
    atMs.set("done", at);
    const { tick, blackoutMs, totalMs, bytesAfterFreeze } = event.value;
    const sentModule = atMs.has("module-sent");
    return {
      tick,
      blackoutMs,
      totalMs,
      bytesAfterFreeze: Number(bytesAfterFreeze),
      sentModule,
      phaseMs: between(atMs),
    };
  }
  throw new Error(`${source.name} did not say how the move ended`);
}

function between(atMs: ReadonlyMap<string, number>): Record<Phase, number> {
  let before = 0;
  const spans = phases.map((phase): [Phase, number] => {
    const at = atMs.get(phase) ?? before;
    const span = at - before;
    before = at;
    return [phase, span];
  });
  return Object.fromEntries(spans) as Record<Phase, number>;
}
