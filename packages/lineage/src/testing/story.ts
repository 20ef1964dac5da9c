// Agents with a past, for tests of this package and of others (@godwit/lineage/testing): every checkpoint here is one that
// a real host could have written.

import type { Term } from "@godwit/common/lease";
import { tickCost } from "@godwit/common/money";
import {
  type Checkpoint,
  createGenesis,
  digestOf,
  encodeReceipt,
  fundingIdsAfter,
  type Header,
  hostIdOf,
  type Imported,
  issueGrant,
  MAX_WALLET_RECEIPTS,
  type Receipt,
  refOf,
  type Signer,
  signerFromSeed,
  writeCheckpoint,
} from "../index.ts";

export { mutations } from "./mutations.ts";
export {
  type SeedFileContent,
  type SeedReceiptContent,
  seedAgent,
  seedCheckpointFile,
  seedNode,
  seedReceiptsFile,
} from "./seed-files.ts";

export const INCARNATION = "incarnation-1";

export interface Host {
  readonly signer: Signer;
  readonly hostId: string;
  readonly bootId: string;
}

export function hostFromByte(byte: number): Host {
  const signer = signerFromSeed(new Uint8Array(32).fill(byte));
  return { signer, hostId: hostIdOf(signer.publicKey), bootId: `boot-${byte}` };
}

export const registry = signerFromSeed(new Uint8Array(32).fill(200));
export const stranger = signerFromSeed(new Uint8Array(32).fill(201));
export const ada = hostFromByte(1);
export const bob = hostFromByte(2);
export const cleo = hostFromByte(3);

export const state = (text: string): Uint8Array => new TextEncoder().encode(text);

export interface Created {
  readonly name?: string;
  readonly era?: bigint;
  readonly nonce?: number;
  readonly imported?: Imported;
}

export function createAgent(
  host: Host,
  { name = "survivor", era = 0n, nonce = 7, imported }: Created = {},
): Checkpoint {
  const moduleDigest = digestOf(state("module"));
  const manifestDigest = digestOf(state("manifest"));
  const genesis = createGenesis({
    creatorHostId: host.hostId,
    moduleDigest,
    manifestDigest,
    incarnation: INCARNATION,
    nonce: new Uint8Array(16).fill(nonce),
    recoveryPolicy: "latest",
    name,
    imported,
  });
  const header: Omit<Header, "stateDigest" | "stateBytes"> = {
    agentId: genesis.agentId,
    era,
    major: 0n,
    generation: 0n,
    tick: 0n,
    moduleDigest,
    manifestDigest,
    previous: imported?.digest,
    base: undefined,
    budget: 1_000_000n,
    pricePerSecond: 1_000n,
    remainder: 0n,
    receipts: [],
    grant: undefined,
    genesis: genesis.bytes,
    origin: "created",
    rolledBackFromTick: undefined,
    writtenAtNs: 1_700_000_000_000_000_000n,
    fundingIds: [],
  };
  return writeCheckpoint(header, state("tick 0"), host.signer);
}

export interface Next {
  /** Default: the term of `from`. */
  readonly term?: Term;
  readonly host: Host;
  readonly ticks?: bigint;
  readonly origin?: Header["origin"];
  readonly text?: string;
  readonly elapsedNs?: bigint;
  /** What came in after the ticks, under a number of its own; with 0 ticks nothing ran. */
  readonly funding?: { readonly funded: bigint; readonly fundingId: string };
  /** Of the first checkpoint of a major. */
  readonly rolledBackFromTick?: bigint;
  readonly header?: Partial<Header>;
}

/** The checkpoint that `host` writes next: under the same major, or as the first one of a new one. */
export function next(from: Checkpoint, options: Next): Checkpoint {
  const header = nextHeader(from, options);
  const checkpoint = writeCheckpoint(header, state(options.text ?? `tick ${header.tick}`), options.host.signer);
  wallets.set(checkpoint.digest, [...receiptsUpTo(from), ...header.receipts].slice(-MAX_WALLET_RECEIPTS));
  return checkpoint;
}

const wallets = new Map<string, readonly Receipt[]>();

function receiptsUpTo({ digest, header }: Checkpoint): readonly Receipt[] {
  return wallets.get(digest) ?? header.receipts;
}

/** Encoded, newest last: what the agent can read as of a checkpoint that `next` has made. */
export function walletOf(checkpoint: Checkpoint): readonly Uint8Array[] {
  return receiptsUpTo(checkpoint).map(encodeReceipt);
}

export function nextHeader(from: Checkpoint, { host, ticks = 5n, ...options }: Next): Header {
  const { header: before } = from;
  const term = options.term ?? { era: before.era, major: before.major };
  const stays = term.era === before.era && term.major === before.major;
  const lastTick = before.tick + ticks;
  const tick = options.funding === undefined ? lastTick : lastTick + 1n;
  const elapsedNs = ticks === 0n ? 0n : (options.elapsedNs ?? 1_234_567n);
  const pricePerSecond = before.pricePerSecond;
  const { cost, remainder } = tickCost({ elapsedNs, pricePerSecond, remainder: before.remainder });
  const budgetAfter = before.budget - cost;
  const budget = budgetAfter + (options.funding?.funded ?? 0n);
  const { hostId } = host;
  const ran: Receipt = {
    hostId,
    firstTick: before.tick + 1n,
    lastTick,
    elapsedNs,
    pricePerSecond,
    cost,
    budgetAfter,
  };
  const free = { ...ran, elapsedNs: 0n, cost: 0n, firstTick: tick, lastTick: tick };
  const receipts = [
    ...(ticks === 0n ? [] : [ran]),
    ...(options.funding === undefined ? [] : [{ ...free, ...options.funding, budgetAfter: budget }]),
  ];
  return {
    ...before,
    ...term,
    generation: stays ? before.generation + 1n : 0n,
    tick,
    previous: from.digest,
    base: stays && before.base !== undefined ? before.base : refOf(from),
    budget,
    remainder,
    receipts,
    fundingIds: fundingIdsAfter(before.fundingIds, receipts),
    grant: grantOf(before.agentId, term, host),
    genesis: undefined,
    origin: options.origin ?? (stays ? before.origin : "migrated"),
    rolledBackFromTick: stays ? before.rolledBackFromTick : options.rolledBackFromTick,
    ...options.header,
  };
}

export function grantOf(agentId: string, { era, major }: Term, host: Host, signer = registry) {
  const session = { hostId: host.hostId, bootId: host.bootId };
  return issueGrant({ agentId, era, major, session, incarnation: INCARNATION, issuedAtNs: 1n }, signer);
}

/** Created on ada, moved to bob, recovered by cleo from an older checkpoint than bob's last. */
export function travelled() {
  const created = createAgent(ada);
  const adaTicks = [next(created, { host: ada }), next(next(created, { host: ada }), { host: ada })] as const;
  const bobFirst = next(adaTicks[1], { host: bob, term: { era: 0n, major: 1n } });
  const bobLast = next(bobFirst, { host: bob });
  const cleoFirst = next(bobFirst, {
    host: cleo,
    term: { era: 0n, major: 2n },
    origin: "recovered",
    header: { rolledBackFromTick: bobLast.header.tick },
  });
  const cleoLast = next(cleoFirst, { host: cleo });
  const chain = [created, ...adaTicks, bobFirst, cleoFirst, cleoLast] as const;
  return { created, adaTicks, bobFirst, bobLast, cleoFirst, cleoLast, chain };
}
