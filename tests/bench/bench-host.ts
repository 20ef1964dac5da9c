// A host as the registry sees it: a key, a session and agents. It runs nothing, so that only the registry is measured.

import { randomBytes, randomUUID } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type Checkpoint,
  createGenesis,
  digestOf,
  digestToBytes,
  fromProtoSigned,
  hostIdOf,
  type Signer,
  seal,
  signerFromSeed,
  toProtoSigned,
  writeCheckpoint,
} from "@godwit/lineage";
import {
  type AuthorityRecord,
  type CommandResponse,
  type HeadReportSchema,
  type ReassertItemSchema,
  ReassertItemsSchema,
  ReassertionSchema,
  type ReassertRequestSchema,
  RefusalCode,
} from "@godwit/proto/godwit/registry/v1/authority";
import type { HostInfoSchema, Outcome } from "@godwit/proto/godwit/registry/v1/directory";
import { MarkSchema, SessionOpeningSchema } from "@godwit/proto/godwit/registry/v1/session";
import type { RegistryNode } from "@godwit/testing";

const digest = "b".repeat(64);
const ACQUIRES_AT_ONCE = 16;

/** An agent as it was acquired. */
export interface Held {
  readonly record: AuthorityRecord;
  readonly first: Checkpoint;
}

export class BenchHost {
  readonly #registry: RegistryNode;
  readonly #signer: Signer;
  readonly #hostId: string;
  readonly #bootId = randomUUID();
  #secret = new Uint8Array(0);
  #incarnation = "";
  #generation = 0n;

  static async open(registry: RegistryNode): Promise<BenchHost> {
    const host = new BenchHost(registry);
    host.#incarnation = await incarnationOf(registry);
    const opening = create(SessionOpeningSchema, { ...host.#session, incarnation: host.#incarnation });
    const sealed = seal("session-opening", toBinary(SessionOpeningSchema, opening), host.#signer);
    const opened = await registry.sessions.openSession({ opening: toProtoSigned(sealed) });
    host.#secret = new Uint8Array(opened.secret);
    host.#generation = opened.generation;
    return host;
  }

  private constructor(registry: RegistryNode) {
    this.#registry = registry;
    this.#signer = signerFromSeed(new Uint8Array(randomBytes(32)));
    this.#hostId = hostIdOf(this.#signer.publicKey);
  }

  get #session() {
    return { hostId: this.#hostId, bootId: this.#bootId };
  }

  get #named() {
    return { caller: { session: this.#session, secret: this.#secret }, incarnation: this.#incarnation };
  }

  async renew(): Promise<void> {
    const { generation } = await this.#registry.sessions.renewSession({ ...this.#named, generation: this.#generation });
    this.#generation = generation;
  }

  async register(info: MessageInitShape<typeof HostInfoSchema>): Promise<void> {
    await this.#registry.directory.registerHost({ ...this.#named, info: { ...info, hostId: this.#hostId } });
  }

  /** How this host fared as a target, by its own word. */
  async reportOutcome(outcome: Outcome): Promise<void> {
    await this.#registry.directory.reportOutcome({ ...this.#named, hostId: this.#hostId, outcome });
  }

  async acquire(): Promise<AuthorityRecord> {
    return (await this.acquireHeld()).record;
  }

  async acquireHeld(): Promise<Held> {
    const checkpoint = this.#firstCheckpoint();
    const { agentId } = checkpoint.header;
    const record = done(
      await this.#registry.authority.acquire({
        command: this.#command(agentId, 0n),
        head: toProtoSigned(checkpoint.signed),
      }),
    );
    return { record, first: checkpoint };
  }

  /** A report of the checkpoint so many ticks after the first one. */
  report({ record, first }: Held, tick: bigint): MessageInitShape<typeof HeadReportSchema> {
    const { agentId, era, major, grant } = record;
    const { header, digest: base, state } = first;
    if (grant === undefined) throw new Error("the record has no grant");
    const ticked = { hostId: this.#hostId, firstTick: 1n, lastTick: tick, elapsedNs: 0n, pricePerSecond: 0n, cost: 0n };
    const head = writeCheckpoint(
      {
        ...header,
        tick,
        previous: base,
        base: { era, major, tick: 0n, digest: base },
        receipts: [{ ...ticked, budgetAfter: header.budget }],
        grant: fromProtoSigned(grant),
        genesis: undefined,
      },
      state,
      this.#signer,
    );
    return { commandId: randomUUID(), agentId, era, major, head: toProtoSigned(head.signed) };
  }

  async reportHeads(reports: readonly MessageInitShape<typeof HeadReportSchema>[]): Promise<void> {
    const { results } = await this.#registry.authority.reportHeads({ ...this.#named, reports: [...reports] });
    for (const answer of results) done(answer);
  }

  /** What brings the session and these agents back under another incarnation, signed; it has still to be sent. */
  reassertion(incarnation: string, agents: readonly Held[]): MessageInitShape<typeof ReassertRequestSchema> {
    const items = toBinary(ReassertItemsSchema, create(ReassertItemsSchema, { items: agents.map(itemOf) }));
    const statement = create(ReassertionSchema, {
      session: this.#session,
      incarnation,
      fromIncarnation: this.#incarnation,
      generation: this.#generation,
      itemsDigest: digestToBytes(digestOf(items)),
    });
    const sealed = seal("reassertion", toBinary(ReassertionSchema, statement), this.#signer);
    return { reassertion: toProtoSigned(sealed), items };
  }

  /** `onMade` hears of every thousandth. */
  async acquireMany(count: number, signal: AbortSignal, onMade: (made: number) => void): Promise<void> {
    let begun = 0;
    const worker = async (): Promise<void> => {
      while (begun < count) {
        signal.throwIfAborted();
        const mine = ++begun;
        await this.acquire();
        if (mine % 1_000 === 0) onMade(mine);
      }
    };
    await Promise.all(Array.from({ length: ACQUIRES_AT_ONCE }, worker));
  }

  /** Of an agent that was not begun to be handed over: nothing changes but the revision, so it can be done again and again. */
  async revert({ agentId, revision }: AuthorityRecord): Promise<AuthorityRecord> {
    return done(await this.#registry.authority.revertHandoff({ command: this.#command(agentId, revision) }));
  }

  /** An owner gives itself up; the same id again is the same command. */
  async declare({ agentId, revision }: AuthorityRecord, commandId: string): Promise<AuthorityRecord> {
    const command = { ...this.#command(agentId, revision), commandId };
    return done(await this.#registry.authority.declareRecovery({ command, reason: "bench" }));
  }

  #command(agentId: string, revision: bigint) {
    return { ...this.#named, commandId: randomUUID(), agentId, revision };
  }

  #firstCheckpoint() {
    const genesis = createGenesis({
      creatorHostId: this.#hostId,
      moduleDigest: digest,
      manifestDigest: digest,
      incarnation: this.#incarnation,
      nonce: new Uint8Array(randomBytes(16)),
      recoveryPolicy: "latest",
      name: "bench",
    });
    return writeCheckpoint(
      {
        agentId: genesis.agentId,
        era: 0n,
        major: 0n,
        generation: 0n,
        tick: 0n,
        moduleDigest: digest,
        manifestDigest: digest,
        previous: undefined,
        base: undefined,
        budget: 1_000n,
        pricePerSecond: 0n,
        remainder: 0n,
        receipts: [],
        fundingIds: [],
        grant: undefined,
        genesis: genesis.bytes,
        origin: "created",
        rolledBackFromTick: undefined,
        writtenAtNs: 0n,
      },
      new Uint8Array(0),
      this.#signer,
    );
  }
}

/** The present one of the store. */
export async function incarnationOf(registry: RegistryNode): Promise<string> {
  const { mark } = await registry.sessions.describeRegistry({});
  if (mark === undefined) throw new Error("the registry showed no mark");
  return fromBinary(MarkSchema, mark.payload).incarnation;
}

function itemOf({ record, first }: Held): MessageInitShape<typeof ReassertItemSchema> {
  const { agentId, grant, bases, revision } = record;
  const { genesis, era, major, tick } = first.header;
  if (grant === undefined || genesis === undefined) throw new Error("the agent has no grant or no genesis");
  const head = { era, major, tick, digest: digestToBytes(first.digest) };
  return { agentId, genesis, what: { case: "grant", value: { grant, head, bases, revision } } };
}

export function done({ refusal, message, record }: CommandResponse): AuthorityRecord {
  if (refusal !== RefusalCode.UNSPECIFIED) throw new Error(`refused with code ${refusal}: ${message}`);
  if (record === undefined) throw new Error("a command that was done answered no record");
  return record;
}
