// Commands of whoever has no right to them: with a wrong secret, of a session that nobody knows, for an agent of somebody
// else, with a token that the owner has not signed. Each must be refused in every state of the store, and change nothing.

import type { CheckpointRef, Command, Facts } from "@godwit/common/lease";
import { agentId, type Store, sessionName, type Token } from "./world.ts";

export interface Strange {
  readonly command: Command;
  readonly facts: Partial<Facts>;
}

/** What a stranger could try on a store in this state. `bystander`: a host with an open session that owns nothing. */
export function strangeCommands(store: Store, genesis: CheckpointRef): readonly Strange[] {
  const { mark, record } = store;
  if (mark === undefined) return [];
  const { incarnation } = mark;
  const unknown = { hostId: "X", bootId: "1" };
  const bystander = bystanderOf(store) ?? unknown;
  const callers: readonly { readonly caller: typeof unknown; readonly facts: Partial<Facts> }[] = [
    { caller: unknown, facts: {} },
    { caller: bystander, facts: {} },
    { caller: record?.owner ?? unknown, facts: { caller: "bad-secret" } },
  ];
  const revision = record?.revision ?? 0n;
  const head = record?.head ?? genesis;
  const term = record ?? genesis;
  const { era, major } = term;
  const created = { creatorHostId: "X", incarnation, recoveryPolicy: "latest", name: "agent" } as const;
  const handoff = record?.handoff;
  const token: Token = {
    agentId,
    era,
    major,
    handoffId: handoff?.id ?? "none",
    sourceHostId: record?.owner?.hostId ?? "X",
    targetHostId: handoff?.targetHostId ?? "X",
    checkpointDigest: head.digest,
    tick: head.tick,
  };
  const strange = callers.flatMap(({ caller, facts }) => {
    const base = { id: "strange", incarnation, agentId, caller };
    const commands: readonly Command[] = [
      { ...base, kind: "acquire", genesis: created, head: genesis },
      { ...base, kind: "report_head", era, major, head },
      { ...base, kind: "begin_handoff", revision, handoffId: "strange", targetHostId: "X", head },
      { ...base, kind: "revert_handoff", revision },
      { ...base, kind: "claim", token },
      { ...base, kind: "recover", revision, head },
      { ...base, kind: "declare_recovery", revision, reason: "strange" },
      { ...base, kind: "release", revision, reason: "stopped", head },
      { ...base, kind: "terminate", revision },
    ];
    return commands
      .filter(({ kind }) => kind !== "recover" || mayNot(store, caller))
      .map((command) => ({ command, facts: { ...facts, genesisMatches: false, tokenSignedByOwner: false } }));
  });
  return [...strange, ...clumsyOwner(store)];
}

/** What the owner itself gets wrong: a revision that is past, a second handoff beside an open one. */
function clumsyOwner(store: Store): readonly Strange[] {
  const { mark, record } = store;
  if (mark === undefined || record?.owner === undefined || record.incarnation !== mark.incarnation) return [];
  const base = { id: "clumsy", incarnation: mark.incarnation, agentId, caller: record.owner };
  const handoff = { kind: "begin_handoff", handoffId: "clumsy", targetHostId: "X", head: record.head } as const;
  const past: Strange = { command: { ...base, ...handoff, revision: record.revision + 1n }, facts: {} };
  if (record.state !== "HANDOFF_INITIATED") return [past];
  return [past, { command: { ...base, ...handoff, revision: record.revision }, facts: {} }];
}

/** A bystander may recover what its owner cannot hold any more: that is no strange thing to do. */
function mayNot(store: Store, caller: { readonly hostId: string }): boolean {
  const { record, sessions, mark } = store;
  if (caller.hostId === "X") return true;
  if (record?.owner === undefined || record.state === "RETIRED" || record.incarnation !== mark?.incarnation)
    return false;
  const owner = sessions[sessionName(record.owner)];
  return owner !== undefined && !owner.closed && owner.incarnation === mark.incarnation;
}

function bystanderOf({ sessions, mark, record }: Store): { hostId: string; bootId: string } | undefined {
  for (const [name, { closed, incarnation }] of Object.entries(sessions)) {
    const [hostId = "", bootId = ""] = name.split("/");
    if (!closed && incarnation === mark?.incarnation && hostId !== record?.owner?.hostId) return { hostId, bootId };
  }
  return undefined;
}
