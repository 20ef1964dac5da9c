// A registry in memory for tests of what hosts do about their agents: the real `decide`, the real signatures, and answers
// that go astray when a test says so.

import { fromBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import {
  type AuthorityRecord,
  basesOfSpine,
  type CheckpointRef,
  type Command,
  decide,
  type ReassertItem,
  type RefusalCode,
  reassert,
  type SessionId,
  type SignedBytes,
  type SpineFacts,
} from "@godwit/common/lease";
import {
  digestFromBytes,
  digestOf,
  issueGrant,
  issueTermination,
  readGenesis,
  readGrant,
  readHeader,
  readTermination,
  readToken,
  signerFromSeed,
} from "@godwit/lineage";
import { RelinquishTokenSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import type {
  Announcement,
  Answer,
  Authority,
  CommandOn,
  HeadReport,
  HeldSession,
  Reading,
  ShownItem,
} from "../../src/registry/ports.ts";

export const INCARNATION = "incarnation-1";
const signer = signerFromSeed(new Uint8Array(32).fill(200));

/** `lost-before`: unknown, and not done unless `deliverLate` is called; `lost-after`: done, and unknown. */
export type Mishap = "lost-before" | "lost-after" | { readonly refuse: RefusalCode };

export interface Sent {
  readonly kind: Command["kind"];
  readonly id: string;
  readonly by: SessionId;
  readonly command: Command;
}

export class MemoryRegistry implements Authority {
  readonly records = new Map<string, AuthorityRecord>();
  readonly voided = new Set<string>();
  readonly sent: Sent[] = [];
  readonly announced: Announcement[] = [];
  readonly publicKey = signer.publicKey;
  reads = 0;
  /** Nobody hears what is sent while it is false. */
  reachable = true;
  mark = { incarnation: INCARNATION, counter: 0n, quarantine: false };
  readonly #spines = new Map<string, SpineFacts>();
  /** Called with each command that arrives, before it is decided. */
  onArrival: (kind: Command["kind"]) => void = () => {};
  /** Called with each command that was decided, before it is answered. */
  onDone: (kind: Command["kind"]) => void = () => {};
  readonly #mishaps: { readonly kind: Command["kind"]; readonly mishap: Mishap }[] = [];
  readonly #underWay: (() => Answer)[] = [];
  readonly #tokens = new Map<string, SignedBytes>();

  /** What happens to the next commands of this kind, one each. */
  disturb(kind: Command["kind"], ...mishaps: readonly Mishap[]): void {
    for (const mishap of mishaps) this.#mishaps.push({ kind, mishap });
  }

  /** What was lost on its way arrives after all; gives the answers that nobody hears. */
  deliverLate(): readonly Answer[] {
    return this.#underWay.splice(0).map((arrive) => arrive());
  }

  record(agentId: string): AuthorityRecord {
    const record = this.records.get(agentId);
    if (record === undefined) throw new Error("there is no record");
    return record;
  }

  /** As if something else had happened at the registry meanwhile. */
  rewrite(agentId: string, changes: Partial<AuthorityRecord>): void {
    this.records.set(agentId, { ...this.record(agentId), ...changes });
  }

  /** The store has lost everything, and the registry has noticed. What was under way is of the incarnation before. */
  forget(incarnation: string, counter: bigint): void {
    this.records.clear();
    this.loseTrust(incarnation, counter);
  }

  /** The store may have lost something: nobody has confirmed any record under the new mark. */
  loseTrust(incarnation: string, counter: bigint): void {
    this.mark = { incarnation, counter, quarantine: true };
  }

  endQuarantine(): void {
    this.mark = { ...this.mark, quarantine: false };
  }

  /** GA-7: one item of a batch, from a session that comes from the incarnation `from`. */
  reassert(session: SessionId, from: string, shown: ShownItem): Answer {
    const decision = reassert(this.records.get(shown.agentId), readItem(shown), { mark: this.mark, session, from });
    const written = decision.kind === "refused" ? decision.write : decision.kind !== "answered";
    if (decision.record === undefined) {
      return {
        kind: "refused",
        code: decision.kind === "refused" ? wireCode(decision.code) : "NO_RECORD",
        record: undefined,
      };
    }
    const record = decision.kind === "rebuilt" ? signed(decision.record, decision.sign) : decision.record;
    if (written) this.records.set(shown.agentId, record);
    if (decision.kind === "refused") return { kind: "refused", code: wireCode(decision.code), record };
    if (decision.kind === "violation") return { kind: "refused", code: "DIVERGENT_LINEAGE", record };
    return { kind: "applied", record };
  }

  endSession({ hostId, bootId }: SessionId): void {
    this.voided.add(`${hostId}/${bootId}`);
  }

  sentOf(kind: Command["kind"]): readonly Sent[] {
    return this.sent.filter((sent) => sent.kind === kind);
  }

  async acquire(session: HeldSession, command: Omit<CommandOn, "revision">, head: SignedBytes): Promise<Answer> {
    const { genesis } = readHeader(head.payload);
    if (genesis === undefined) throw new Error("acquire shows the checkpoint of tick 0");
    return this.#send(session, { kind: "acquire", ...command, genesis: readGenesis(genesis), head: refIn(head) });
  }

  async beginHandoff(
    session: HeldSession,
    command: CommandOn,
    handoff: { readonly handoffId: string; readonly targetHostId: string; readonly head: SignedBytes },
  ): Promise<Answer> {
    return this.#send(session, { kind: "begin_handoff", ...command, ...handoff, head: refIn(handoff.head) });
  }

  async revertHandoff(session: HeldSession, command: CommandOn): Promise<Answer> {
    return this.#send(session, { kind: "revert_handoff", ...command });
  }

  async claim(session: HeldSession, command: Omit<CommandOn, "revision">, token: SignedBytes): Promise<Answer> {
    const { checkpointDigest, $typeName: _, ...claims } = fromBinary(RelinquishTokenSchema, token.payload);
    this.#tokens.set(command.commandId, token);
    return this.#send(session, {
      kind: "claim",
      ...command,
      token: { ...claims, checkpointDigest: digestFromBytes(checkpointDigest) },
    });
  }

  async recover(
    session: HeldSession,
    command: CommandOn,
    head: SignedBytes,
    spine: readonly SignedBytes[] = [],
  ): Promise<Answer> {
    const shown = spineFacts([head, ...spine]);
    if (shown !== undefined) this.#spines.set(command.commandId, shown);
    return this.#send(session, { kind: "recover", ...command, head: refIn(head) });
  }

  async declareRecovery(session: HeldSession, command: CommandOn, reason: string): Promise<Answer> {
    return this.#send(session, { kind: "declare_recovery", ...command, reason });
  }

  async release(
    session: HeldSession,
    command: CommandOn,
    { reason, head }: Parameters<Authority["release"]>[2],
  ): Promise<Answer> {
    return this.#send(session, { kind: "release", ...command, reason, head: head && refIn(head) });
  }

  async terminate(session: HeldSession, command: CommandOn): Promise<Answer> {
    return this.#send(session, { kind: "terminate", ...command });
  }

  async reportHeads(session: HeldSession, reports: readonly HeadReport[]): Promise<readonly Answer[]> {
    return reports.map(({ commandId, agentId, era, major, head }) =>
      this.#send(session, { kind: "report_head", commandId, agentId, era, major, head: refIn(head) }),
    );
  }

  async announce(_session: HeldSession, announcement: Announcement): Promise<void> {
    this.announced.push(announcement);
  }

  async read(agentId: string): Promise<Reading> {
    this.reads += 1;
    if (!this.reachable) return { kind: "unreachable", cause: unreachable() };
    if (this.mark.quarantine)
      return { kind: "unreachable", cause: new Fault({ code: "QUARANTINE", reason: "as told" }) };
    const record = this.records.get(agentId);
    if (record === undefined) return { kind: "no-record" };
    return { kind: "record", record, ownerVoid: this.#isVoid(record.owner) };
  }

  async *offers(): AsyncGenerator<AuthorityRecord> {}

  #send(session: HeldSession, sent: Unsent): Answer {
    const { commandId, ...rest } = sent;
    const { id, incarnation } = session;
    const command = { ...rest, id: commandId, incarnation, caller: id } as Command;
    this.sent.push({ kind: command.kind, id: commandId, by: id, command });
    if (!this.reachable) return lost();
    const at = this.#mishaps.findIndex(({ kind }) => kind === command.kind);
    const mishap = at === -1 ? undefined : this.#mishaps.splice(at, 1)[0]?.mishap;
    if (mishap === "lost-before") {
      this.#underWay.push(() => this.#decide(command));
      return lost();
    }
    if (typeof mishap === "object") {
      return { kind: "refused", code: mishap.refuse, record: this.records.get(command.agentId) };
    }
    const answer = this.#decide(command);
    return mishap === "lost-after" ? lost() : answer;
  }

  #decide(command: Command): Answer {
    this.onArrival(command.kind);
    const before = this.records.get(command.agentId);
    const decision = decide(before, command, {
      mark: this.mark,
      caller: "caller" in command && this.#isVoid(command.caller) ? "void" : "open",
      ownerVoid: this.#isVoid(before?.owner),
      announced: [],
      genesisMatches: true,
      tokenSignedByOwner: isSignedBy(before?.owner, this.#tokens.get(command.id)),
      spine: this.#spines.get(command.id),
    });
    if (decision.kind === "refused") {
      if (decision.write && decision.record !== undefined) this.records.set(command.agentId, decision.record);
      return { kind: "refused", code: decision.code, record: decision.record };
    }
    this.onDone(command.kind);
    const record = decision.kind === "applied" ? signed(decision.record, decision.sign) : decision.record;
    this.records.set(command.agentId, record);
    return { kind: "applied", record };
  }

  #isVoid(session: SessionId | undefined): boolean {
    return session === undefined || this.voided.has(`${session.hostId}/${session.bootId}`);
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
type Unsent = DistributiveOmit<Command, "id" | "incarnation" | "caller"> & { readonly commandId: string };

function signed(record: AuthorityRecord, statement: "grant" | "termination" | undefined): AuthorityRecord {
  const { agentId, era, major, owner, incarnation } = record;
  if (statement === "termination") {
    return { ...record, terminated: issueTermination({ agentId, era, major, incarnation, issuedAtNs: 1n }, signer) };
  }
  if (statement === undefined || owner === undefined) return record;
  const grant = issueGrant({ agentId, era, major, session: owner, incarnation, issuedAtNs: 1n }, signer);
  return { ...record, grant };
}

/** `undefined` when it has a gap, or does not end at tick 0. */
function spineFacts(headers: readonly SignedBytes[]): SpineFacts | undefined {
  const links = headers.map((header) => ({ ref: refIn(header), header: readHeader(header.payload) }));
  if (links.some(({ header }, at) => header.base?.digest !== links[at + 1]?.ref.digest)) return undefined;
  const [top, lowest] = [links[0], links.at(-1)];
  if (top === undefined || lowest?.header.genesis === undefined) return undefined;
  return {
    bases: basesOfSpine(links.map(({ ref, header }) => ({ ref, base: header.base }))),
    genesis: readGenesis(lowest.header.genesis),
    grantedUnder: top.header.grant && readGrant(top.header.grant, signer.publicKey).incarnation,
  };
}

function readItem(shown: ShownItem): ReassertItem {
  const { agentId } = shown;
  switch (shown.kind) {
    case "grant": {
      const grant = readGrant(shown.grant, signer.publicKey);
      const genesis = digestOf(shown.genesis) === agentId ? readGenesis(shown.genesis) : undefined;
      const { bases, unconfirmed, forced, afterLoss, revision } = shown.record;
      return {
        kind: "grant",
        agentId,
        genesis,
        grant,
        head: shown.head,
        bases,
        unconfirmed,
        forced,
        afterLoss,
        revision,
      };
    }
    case "conflict":
      return { ...shown, genesis: undefined };
    case "termination": {
      const termination = readTermination(shown.termination, signer.publicKey);
      return { kind: "termination", agentId, genesis: undefined, signed: shown.termination, termination };
    }
  }
}

function wireCode(code: RefusalCode | "BAD_GRANT"): RefusalCode {
  return code === "BAD_GRANT" ? "BAD_TOKEN" : code;
}

function isSignedBy(owner: SessionId | undefined, token: SignedBytes | undefined): boolean {
  if (owner === undefined || token === undefined) return false;
  try {
    readToken(token, owner.hostId);
    return true;
  } catch {
    return false;
  }
}

function refIn({ payload }: SignedBytes): CheckpointRef {
  const { era, major, tick } = readHeader(payload);
  return { era, major, tick, digest: digestOf(payload) };
}

function lost(): Answer {
  return { kind: "unknown", cause: unreachable() };
}

function unreachable(): Fault {
  return new Fault({ code: "REGISTRY_UNAVAILABLE", reason: "no answer" });
}
