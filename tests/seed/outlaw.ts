// A host that keeps to no protocol: its own key, session and libp2p node, and whatever a test has it say. What it asks of
// the registry, and whom it speaks to, is real.

import { randomBytes, randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FramedStream, P2pNode, type StreamHandler } from "@godwit/agent-host/p2p";
import { isFault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import {
  type Checkpoint,
  createGenesis,
  digestOf,
  fromProtoSigned,
  type Header,
  hostIdOf,
  issueToken,
  type Signer,
  seal,
  signerFromSeed,
  toProtoSigned,
  writeCheckpoint,
} from "@godwit/lineage";
import { next } from "@godwit/lineage/testing";
import type { OfferFrame } from "@godwit/migration";
import { type CheckpointHeader, CheckpointHeaderSchema } from "@godwit/proto/godwit/lineage/v1/lineage";
import { type CommandResponse, RefusalCode } from "@godwit/proto/godwit/registry/v1/authority";
import { Outcome } from "@godwit/proto/godwit/registry/v1/directory";
import { MarkSchema, SessionOpeningSchema } from "@godwit/proto/godwit/registry/v1/session";
import type { Cluster, HostNode, RegistryNode } from "@godwit/testing";
import { type Handoff, handoffOf, Peer } from "./peer.ts";

export const MIGRATE_PROTOCOL = "/godwit/migrate/1";
const RENEW_EVERY_MS = 1_000;

/** An agent that the registry has given to an outlaw. */
export interface Owned {
  readonly agentId: string;
  readonly manifest: Uint8Array;
  readonly module: Uint8Array;
  readonly created: Checkpoint;
  /** Of major 0; unset only while it is asked for. */
  readonly grant: SignedBytes;
  revision: bigint;
}

export interface OwnedRecipe {
  readonly module: Uint8Array;
  readonly manifest?: object;
}

export class Outlaw implements AsyncDisposable {
  readonly hostId: string;
  readonly signer: Signer;
  readonly bootId = randomUUID();
  readonly #registry: RegistryNode;
  readonly #node: P2pNode;
  #secret = new Uint8Array(0);
  #incarnation = "";
  #generation = 0n;
  #renewing: NodeJS.Timeout | undefined;

  /** Known to the registry as a host like any other. */
  static async open(cluster: Cluster, name: string, pricePerSecond = 1_000n): Promise<Outlaw> {
    const seed = new Uint8Array(randomBytes(32));
    const node = await P2pNode.create({ seed, listen: ["/ip4/127.0.0.1/tcp/0"], announce: [], maxConnections: 50 });
    await node.start();
    const outlaw = new Outlaw(cluster.registry, node, signerFromSeed(seed));
    await outlaw.#openSession();
    const { hostId } = outlaw;
    const addresses = [...node.addresses()];
    const capabilities = ["clock", "log", "rand", "wallet", "pricing"];
    const offers = { capabilities, pricePerSecond, maxMemoryBytes: 64n * 2n ** 20n };
    const info = { hostId, name, addresses, grpcAddress: "127.0.0.1:1", ...offers };
    await cluster.registry.directory.registerHost({ ...outlaw.#named, info });
    return outlaw;
  }

  private constructor(registry: RegistryNode, node: P2pNode, signer: Signer) {
    this.#registry = registry;
    this.#node = node;
    this.signer = signer;
    this.hostId = hostIdOf(signer.publicKey);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#renewing);
    await this.#node.stop();
  }

  get #session() {
    return { hostId: this.hostId, bootId: this.bootId };
  }

  get #named() {
    return { caller: { session: this.#session, secret: this.#secret }, incarnation: this.#incarnation };
  }

  async #openSession(): Promise<void> {
    const { sessions } = this.#registry;
    const { mark } = await sessions.describeRegistry({});
    if (mark === undefined) throw new Error("the registry showed no mark");
    this.#incarnation = fromBinary(MarkSchema, mark.payload).incarnation;
    const opening = create(SessionOpeningSchema, { ...this.#session, incarnation: this.#incarnation });
    const sealed = seal("session-opening", toBinary(SessionOpeningSchema, opening), this.signer);
    const opened = await sessions.openSession({ opening: toProtoSigned(sealed) });
    this.#secret = new Uint8Array(opened.secret);
    this.#generation = opened.generation;
    // One that is late is followed by the next.
    this.#renewing = setInterval(() => void this.#renew().catch(() => {}), RENEW_EVERY_MS);
  }

  async #renew(): Promise<void> {
    const { sessions } = this.#registry;
    const { generation } = await sessions.renewSession({ ...this.#named, generation: this.#generation });
    this.#generation = generation;
  }

  /** Its tick 0, written and acquired. */
  async create({ module, manifest = { migration_policy: { enabled: true } } }: OwnedRecipe): Promise<Owned> {
    const manifestBytes = new TextEncoder().encode(JSON.stringify(manifest));
    const identity = { moduleDigest: digestOf(module), manifestDigest: digestOf(manifestBytes) };
    const genesis = createGenesis({
      ...identity,
      creatorHostId: this.hostId,
      incarnation: this.#incarnation,
      nonce: new Uint8Array(randomBytes(16)),
      recoveryPolicy: "latest",
      name: "outlaw",
    });
    const created = writeCheckpoint(
      {
        ...identity,
        agentId: genesis.agentId,
        era: 0n,
        major: 0n,
        generation: 0n,
        tick: 0n,
        previous: undefined,
        base: undefined,
        budget: 1_000_000_000n,
        pricePerSecond: 1_000n,
        remainder: 0n,
        receipts: [],
        fundingIds: [],
        grant: undefined,
        genesis: genesis.bytes,
        origin: "created",
        rolledBackFromTick: undefined,
        writtenAtNs: 1_700_000_000_000_000_000n,
      },
      new Uint8Array(0),
      this.signer,
    );
    const { record } = done(
      await this.#registry.authority.acquire({
        command: this.#command(genesis.agentId, 0n),
        head: toProtoSigned(created.signed),
      }),
    );
    if (record?.grant === undefined) throw new Error("no grant came with what was acquired");
    const grant = fromProtoSigned(record.grant);
    const { revision } = record;
    return { agentId: genesis.agentId, manifest: manifestBytes, module, created, grant, revision };
  }

  /** The checkpoint that it would write next; `header` says what else is in it. Its state is empty. */
  after(from: Checkpoint, { grant }: Pick<Owned, "grant">, header: Partial<Header> = {}): Checkpoint {
    return next(from, { host: this, text: "", header: { grant, ...header } });
  }

  /** begin_handoff at the registry, and everything that an honest source would then say. */
  async begin(owned: Owned, to: HostNode, frozen = this.after(owned.created, owned)): Promise<Handoff> {
    const handoffId = randomUUID();
    const { record } = done(
      await this.#registry.authority.beginHandoff({
        command: this.#command(owned.agentId, owned.revision),
        handoffId,
        targetHostId: to.hostId,
        head: toProtoSigned(frozen.signed),
      }),
    );
    owned.revision = record?.revision ?? owned.revision;
    return this.prepared(owned, to.hostId, frozen, handoffId);
  }

  /** The same without a word to the registry. */
  prepared(owned: Owned, targetHostId: string, frozen: Checkpoint, handoffId = randomUUID()): Handoff {
    const { agentId } = owned;
    const { era, major, tick } = frozen.header;
    const claims = { agentId, era, major, handoffId, targetHostId, checkpointDigest: frozen.digest, tick };
    return handoffOf(owned, frozen, handoffId, issueToken(claims, this.signer));
  }

  offer(owned: Owned, changes: Partial<OfferFrame> = {}): OfferFrame {
    return { ...this.prepared(owned, this.hostId, owned.created).offer, ...changes };
  }

  async revert(owned: Owned): Promise<void> {
    const command = this.#command(owned.agentId, owned.revision);
    const { record } = done(await this.#registry.authority.revertHandoff({ command }));
    owned.revision = record?.revision ?? owned.revision;
  }

  /** report_head of it; what the registry said of it, "done" if it took it. */
  async report(agentId: string, { signed, header }: Checkpoint): Promise<string> {
    const { era, major } = header;
    const report = { commandId: randomUUID(), agentId, era, major, head: toProtoSigned(signed) };
    return await saidBy(async () => {
      const { results } = await this.#registry.authority.reportHeads({ ...this.#named, reports: [report] });
      return results[0];
    });
  }

  async recover(agentId: string, revision: bigint, { signed }: Checkpoint): Promise<string> {
    const command = this.#command(agentId, revision);
    return await saidBy(() => this.#registry.authority.recover({ command, head: toProtoSigned(signed) }));
  }

  /** What it says of another host as a target. */
  async reportFailure(hostId: string): Promise<void> {
    await this.#registry.directory.reportOutcome({ ...this.#named, hostId, outcome: Outcome.FAILURE });
  }

  /** Ends its session, as a host that stops does. */
  async leave(): Promise<void> {
    clearInterval(this.#renewing);
    await this.#registry.sessions.closeSession({ ...this.#named });
  }

  /** A stream to that host, of the handoff protocol. */
  async dial(host: HostNode): Promise<Peer> {
    const peer = { hostId: host.hostId, addresses: [`/ip4/127.0.0.1/tcp/${host.p2pPort}`] };
    return new Peer(new FramedStream(await this.#node.open(peer, MIGRATE_PROTOCOL, AbortSignal.timeout(50_000))));
  }

  /** Agents that come here are answered like this. */
  async answer(handler: (peer: Peer) => Promise<void>): Promise<void> {
    const limits = { maxInboundStreams: 16, maxOutboundStreams: 16 };
    const serve: StreamHandler = (stream) => handler(new Peer(new FramedStream(stream))).catch(() => {});
    await this.#node.unserve(MIGRATE_PROTOCOL);
    await this.#node.serve(MIGRATE_PROTOCOL, limits, serve);
  }

  #command(agentId: string, revision: bigint) {
    return { ...this.#named, commandId: randomUUID(), agentId, revision };
  }
}

/** The checkpoint with other words in its header, signed by whom you like: what nobody's writeCheckpoint would write. */
export function forge(
  { header, signed, state }: Checkpoint,
  changes: Partial<CheckpointHeader>,
  signer: Signer,
): Checkpoint {
  const words = Object.assign(fromBinary(CheckpointHeaderSchema, signed.payload), changes);
  const payload = toBinary(CheckpointHeaderSchema, words);
  const { era, major, tick } = words;
  return {
    header: { ...header, era, major, tick },
    digest: digestOf(payload),
    signed: seal("checkpoint", payload, signer),
    state,
  };
}

async function saidBy(ask: () => Promise<CommandResponse | undefined>): Promise<string> {
  try {
    return refusalIn(await ask()) ?? "done";
  } catch (cause) {
    if (isFault(cause)) return cause.code;
    throw cause;
  }
}

function refusalIn(response: CommandResponse | undefined): string | undefined {
  const refusal = response?.refusal ?? RefusalCode.UNSPECIFIED;
  if (refusal === RefusalCode.UNSPECIFIED) return undefined;
  return Object.entries(RefusalCode).find(([, code]) => code === refusal)?.[0] ?? `refusal ${refusal}`;
}

function done(response: CommandResponse): CommandResponse {
  const refusal = refusalIn(response);
  if (refusal !== undefined) throw new Error(`refused with ${refusal}: ${response.message}`);
  return response;
}
