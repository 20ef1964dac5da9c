// The parts of a state for people.

import type { AuthorityRecord, Tenure } from "@godwit/common/lease";
import { type Ghost, type Host, type Message, type Store, shortRef, shortTerm } from "./world.ts";

type Parts = Map<string, string>;

export function describeStore({ mark, identity, record, sessions, holders }: Store, parts: Parts): void {
  const state =
    mark === undefined || mark.storeIdentity === identity
      ? mark?.quarantine
        ? " in quarantine"
        : ""
      : " of a store that forgot";
  parts.set("mark", `${mark?.incarnation ?? "none"}${state}`);
  parts.set("record", record === undefined ? "" : describeRecord(record));
  for (const [name, { closed, incarnation }] of Object.entries(sessions)) {
    parts.set(`session ${name}`, `${closed ? "closed" : "open"} (${incarnation})`);
  }
  for (const [name, ref] of Object.entries(holders)) parts.set(`announced ${name}`, shortRef(ref));
}

function describeRecord(record: AuthorityRecord): string {
  const { state, reason, owner, head, unconfirmed, handoff, revision, bases, incarnation, terminated, conflict } =
    record;
  return [
    `${state}${reason === undefined ? "" : `(${reason})`} ${shortTerm(record)}`,
    owner === undefined ? "of nobody" : `of ${owner.hostId}/${owner.bootId}`,
    `r${revision}`,
    `head ${shortRef(head)}`,
    `bases ${bases.map((base) => `${shortTerm(base)}<${base.startedFrom.digest}`).join(" ")}`,
    unconfirmed === undefined ? "" : `unconfirmed ${shortRef(unconfirmed)}`,
    handoff === undefined ? "" : `handoff ${handoff.id} to ${handoff.targetHostId}`,
    incarnation,
    terminated === undefined ? "" : "TERMINATED",
    conflict === undefined ? "" : "CONFLICT",
  ]
    .filter((part) => part !== "")
    .join(", ");
}

export function describeHost(host: Host, parts: Parts): void {
  const { name, up, session, lapsed, journal, held, staged, tenure, supervised, latest, call, source, target } = host;
  const live =
    session === undefined
      ? "no session"
      : `session ${session.bootId} of ${session.incarnation}${session.from === undefined ? "" : ` from ${session.from}`}${session.missed ? " (missed)" : ""}`;
  parts.set(name, up ? `${live}${lapsed ? ", past its deadline" : ""}` : "down");
  parts.set(`${name} tenure`, supervised ? describeTenure(tenure) : "");
  parts.set(`${name} journal`, journal.phase);
  parts.set(
    `${name} disk`,
    `${held.map(shortRef).join(" ")}${staged === undefined ? "" : ` staged ${shortRef(staged.checkpoint)}`}`,
  );
  parts.set(`${name} stands on`, latest === undefined ? "" : shortRef(latest));
  parts.set(`${name} waits for`, call === undefined ? "" : call.purpose);
  parts.set(`${name} source`, source === undefined ? "" : source.state.phase.kind);
  parts.set(`${name} target`, target === undefined ? "" : target.state.phase.kind);
  const flags = [
    host.asked ? "asked" : "",
    host.wish === undefined ? "" : `wishes to ${host.wish.command}`,
    host.promoting ? "promoting" : "",
    host.relinquished === undefined ? "" : `relinquished ${shortTerm(host.relinquished)}`,
  ];
  parts.set(`${name} also`, flags.filter((flag) => flag !== "").join(", "));
}

function describeTenure(tenure: Tenure): string {
  switch (tenure.kind) {
    case "ACTIVE_OWNER": {
      const { grant, baseConfirmed } = tenure;
      const how = baseConfirmed ? "" : ", base unconfirmed";
      return `ACTIVE_OWNER ${shortTerm(grant)} under ${grant.session.bootId} of ${grant.incarnation}${how}`;
    }
    case "HANDOFF_INITIATED":
    case "HANDOFF_PENDING":
      return `${tenure.kind} ${shortTerm(tenure.grant)}`;
    case "RECOVERY_REQUIRED":
      return `RECOVERY_REQUIRED (${tenure.doubt})`;
    case "RETIRED":
      return `RETIRED (${tenure.why})`;
  }
}

export function describeMessage(message: Message): string {
  switch (message.kind) {
    case "request":
      return `${message.command.kind} of ${message.from}${message.reply ? "" : " (given up)"}`;
    case "response":
      return `answer to ${message.to}: ${message.answer.kind === "refused" ? message.answer.code : message.answer.kind}`;
    case "handoff":
      return `HANDOFF to ${message.to}`;
    case "started":
      return `STARTED to ${message.to}`;
    case "refused":
      return `REFUSED to ${message.to}`;
    case "reassert":
      return `reassert of ${message.from}${message.reply ? "" : " (given up)"}`;
    case "reasserted":
      return `answer to ${message.to}: reassert ${message.decision.kind}`;
  }
}

export function describeGhost({ terms }: Ghost, parts: Parts): void {
  for (const term of terms) {
    const last = term.last === undefined ? "" : `, newest ${shortRef(term.last)}`;
    parts.set(`term ${shortTerm(term)}`, `${term.session} from ${shortRef(term.base)}${last}`);
  }
}
