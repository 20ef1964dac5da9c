// A registry's sessions in memory: real marks under a real key, the real rule of what may be brought back, and answers that go
// astray when a test says so.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Fault } from "@godwit/common/fault";
import { type LeaseRules, reassertSession, type SignedBytes, type StoreMark } from "@godwit/common/lease";
import {
  digestFromBytes,
  digestOf,
  fromProtoSigned,
  open,
  publicKeyOfHost,
  type Signer,
  seal,
  signerFromSeed,
} from "@godwit/lineage";
import { type ReassertItem, ReassertItemsSchema, ReassertionSchema } from "@godwit/proto/godwit/registry/v1/authority";
import { MarkSchema, SessionOpeningSchema } from "@godwit/proto/godwit/registry/v1/session";
import type {
  Answer,
  HeldSession,
  OpenedSession,
  Reasserted,
  RegistryDescription,
  Renewal,
  RenewalClaim,
  Sessions,
} from "../../src/registry/ports.ts";

export const leaseRules: LeaseRules = { durationMs: 10_000, graceMs: 2_000, renewEveryMs: 3_000 };

type Call = "describe" | "open" | "renew" | "reassert" | "close";

interface Session {
  incarnation: string;
  generation: bigint;
  closed: boolean;
}

export interface ShownReassertion {
  readonly bootId: string;
  readonly incarnation: string;
  readonly from: string;
  readonly generation: bigint;
  readonly items: readonly ReassertItem[];
}

export class FakeSessions implements Sessions {
  signer = signerFromSeed(new Uint8Array(32).fill(200));
  /** Somebody else's, in between. */
  markSigner: Signer | undefined;
  mark: StoreMark = { incarnation: "incarnation-1", counter: 0n, storeIdentity: "store", quarantine: false };
  readonly sessions = new Map<string, Session>();
  /** Counters of the marks that hosts have shown, with the call in which they did; -1: none. */
  readonly shown: (readonly [Call, bigint])[] = [];
  readonly reasserted: ShownReassertion[] = [];
  readonly renewed: bigint[] = [];
  /** What is answered for each item that is brought back. */
  onItem: (item: ReassertItem) => Answer = () => ({ kind: "unknown", cause: undefined });
  /** Called when something has arrived, before it is done. */
  onArrival: (call: Call) => void = () => {};
  readonly #mishaps: { readonly call: Call; readonly mishap: "lost-before" | "lost-after" | Fault }[] = [];
  /** Nobody hears what is sent while it is false. */
  reachable = true;

  disturb(call: Call, ...mishaps: readonly ("lost-before" | "lost-after" | Fault)[]): void {
    for (const mishap of mishaps) this.#mishaps.push({ call, mishap });
  }

  /** FLUSHALL, and the registry has noticed. */
  forget(incarnation: string, counter: bigint): void {
    this.sessions.clear();
    this.mark = { ...this.mark, incarnation, counter, quarantine: true };
  }

  endQuarantine(): void {
    this.mark = { ...this.mark, quarantine: false };
  }

  signedMark(mark: StoreMark = this.mark): SignedBytes {
    return seal("mark", toBinary(MarkSchema, create(MarkSchema, { ...mark })), this.markSigner ?? this.signer);
  }

  async describe(): Promise<RegistryDescription> {
    return this.#answer("describe", () => ({
      publicKey: this.signer.publicKey,
      mark: this.signedMark(),
      rules: leaseRules,
    }));
  }

  async open(opening: SignedBytes): Promise<OpenedSession> {
    const { bootId, incarnation, markSeen, hostId } = fromBinary(SessionOpeningSchema, opening.payload);
    open("session-opening", opening, publicKeyOfHost(hostId));
    this.#show("open", markSeen && fromProtoSigned(markSeen));
    return this.#answer("open", () => {
      this.#mustName(incarnation);
      this.sessions.set(bootId, { incarnation, generation: 0n, closed: false });
      return { secret: new Uint8Array(32), generation: 0n, rules: leaseRules, mark: this.signedMark() };
    });
  }

  async renew(session: HeldSession, { generation, markSeen }: RenewalClaim): Promise<Renewal> {
    this.#show("renew", markSeen);
    return this.#answer("renew", () => {
      this.#mustName(session.incarnation);
      const known = this.sessions.get(session.id.bootId);
      if (known === undefined) throw new Fault({ code: "SESSION_UNKNOWN", hostId: session.id.hostId });
      if (known.closed) throw new Fault({ code: "SESSION_VOID", hostId: session.id.hostId });
      this.renewed.push(generation);
      known.generation += 1n;
      return { generation: known.generation, rules: leaseRules, mark: this.signedMark() };
    });
  }

  async reassert(signed: SignedBytes, items: Uint8Array): Promise<Reasserted> {
    const { session, incarnation, fromIncarnation, generation, markSeen, itemsDigest } = fromBinary(
      ReassertionSchema,
      signed.payload,
    );
    if (session === undefined) throw new Error("no session");
    open("reassertion", signed, publicKeyOfHost(session.hostId));
    if (digestFromBytes(itemsDigest) !== digestOf(items)) throw new Error("not the items that were signed for");
    this.#show("reassert", markSeen && fromProtoSigned(markSeen));
    return this.#answer("reassert", () => {
      this.#mustName(incarnation);
      const { bootId, hostId } = session;
      const claim = { generation, from: fromIncarnation };
      const outcome = reassertSession(this.sessions.get(bootId), claim, this.mark);
      if (outcome.kind === "refused") {
        if (outcome.code === "SESSION_VOID") throw new Fault({ code: "SESSION_VOID", hostId });
        if (outcome.code === "QUARANTINE_OVER") throw new Fault({ code: "QUARANTINE_OVER" });
        throw new Error("from the present incarnation");
      }
      this.sessions.set(bootId, { incarnation, generation: outcome.generation, closed: false });
      const shown = fromBinary(ReassertItemsSchema, items).items;
      this.reasserted.push({ bootId, incarnation, from: fromIncarnation, generation, items: shown });
      return {
        secret: new Uint8Array(32).fill(7),
        generation: outcome.generation,
        rules: leaseRules,
        mark: this.signedMark(),
        results: shown.map((item) => this.onItem(item)),
      };
    });
  }

  async close({ id }: HeldSession, earlierBootId: string | undefined): Promise<void> {
    this.#answer("close", () => {
      const session = this.sessions.get(earlierBootId ?? id.bootId);
      if (session !== undefined) session.closed = true;
    });
  }

  #mustName(incarnation: string): void {
    if (incarnation !== this.mark.incarnation) {
      throw new Fault({ code: "STALE_INCARNATION", current: this.mark.incarnation });
    }
  }

  #show(call: Call, mark: SignedBytes | undefined): void {
    if (mark === undefined) this.shown.push([call, -1n]);
    else this.shown.push([call, fromBinary(MarkSchema, open("mark", mark, this.signer.publicKey)).counter]);
  }

  #answer<T>(call: Call, work: () => T): T {
    if (!this.reachable) throw lost();
    const at = this.#mishaps.findIndex((mishap) => mishap.call === call);
    const mishap = at === -1 ? undefined : this.#mishaps.splice(at, 1)[0]?.mishap;
    if (mishap === "lost-before") throw lost();
    if (mishap instanceof Fault) throw mishap;
    this.onArrival(call);
    const answer = work();
    if (mishap === "lost-after") throw lost();
    return answer;
  }
}

function lost(): Fault {
  return new Fault({ code: "REGISTRY_UNAVAILABLE", reason: "no answer" });
}
