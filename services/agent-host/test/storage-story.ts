// Checkpoints that real hosts could have written, for tests of what is kept of them.

import type { Term } from "@godwit/common/lease";
import { tickCost } from "@godwit/common/money";
import {
  type Checkpoint,
  createGenesis,
  digestOf,
  type Header,
  hostIdOf,
  issueGrant,
  refOf,
  type Signer,
  signerFromSeed,
  writeCheckpoint,
} from "@godwit/lineage";

const INCARNATION = "incarnation-1";

interface Host {
  readonly signer: Signer;
  readonly hostId: string;
  readonly bootId: string;
}

const registry = signerFromSeed(new Uint8Array(32).fill(200));
export const ada = hostFromByte(1);
export const bob = hostFromByte(2);
export const cleo = hostFromByte(3);

function hostFromByte(byte: number): Host {
  const signer = signerFromSeed(new Uint8Array(32).fill(byte));
  return { signer, hostId: hostIdOf(signer.publicKey), bootId: `boot-${byte}` };
}

/** Tick 0; another nonce is another agent. */
export function createAgent(host: Host, { nonce = 7 } = {}): Checkpoint {
  const moduleDigest = digestOf(bytesOf("module"));
  const manifestDigest = digestOf(bytesOf("manifest"));
  const genesis = createGenesis({
    creatorHostId: host.hostId,
    moduleDigest,
    manifestDigest,
    incarnation: INCARNATION,
    nonce: new Uint8Array(16).fill(nonce),
    recoveryPolicy: "latest",
    name: "survivor",
  });
  const header: Omit<Header, "stateDigest" | "stateBytes"> = {
    agentId: genesis.agentId,
    era: 0n,
    major: 0n,
    generation: 0n,
    tick: 0n,
    moduleDigest,
    manifestDigest,
    previous: undefined,
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
  };
  return writeCheckpoint(header, bytesOf("tick 0"), host.signer);
}

export interface Next {
  readonly host: Host;
  /** Default: the term of the checkpoint before. */
  readonly term?: Term;
  readonly ticks?: bigint;
  readonly origin?: Header["origin"];
  readonly rolledBackFromTick?: bigint;
  /** The state. */
  readonly text?: string;
}

/** The checkpoint that `host` writes next: under the same major, or as the first one of a new one. */
export function next(from: Checkpoint, { host, ticks = 5n, ...options }: Next): Checkpoint {
  const { header: before } = from;
  const term = options.term ?? { era: before.era, major: before.major };
  const stays = term.era === before.era && term.major === before.major;
  const tick = before.tick + ticks;
  const elapsedNs = 1_234_567n;
  const { pricePerSecond } = before;
  const { cost, remainder } = tickCost({ elapsedNs, pricePerSecond, remainder: before.remainder });
  const budget = before.budget - cost;
  const charged = { hostId: host.hostId, firstTick: before.tick + 1n, lastTick: tick };
  const header: Header = {
    ...before,
    ...term,
    generation: stays ? before.generation + 1n : 0n,
    tick,
    previous: from.digest,
    base: stays && before.base !== undefined ? before.base : refOf(from),
    budget,
    remainder,
    receipts: [{ ...charged, elapsedNs, pricePerSecond, cost, budgetAfter: budget }],
    grant: grantOf(before.agentId, term, host),
    genesis: undefined,
    origin: options.origin ?? (stays ? before.origin : "migrated"),
    rolledBackFromTick: stays ? before.rolledBackFromTick : options.rolledBackFromTick,
  };
  return writeCheckpoint(header, bytesOf(options.text ?? `tick ${tick}`), host.signer);
}

export function grantOf(agentId: string, { era, major }: Term, { hostId, bootId }: Host) {
  const session = { hostId, bootId };
  return issueGrant({ agentId, era, major, session, incarnation: INCARNATION, issuedAtNs: 1n }, registry);
}

/** Created on ada, moved to bob, recovered by cleo from an older checkpoint than bob's last. */
export function travelled() {
  const created = createAgent(ada);
  const first = next(created, { host: ada });
  const adaTicks = [first, next(first, { host: ada })] as const;
  const bobFirst = next(adaTicks[1], { host: bob, term: { era: 0n, major: 1n } });
  const bobLast = next(bobFirst, { host: bob });
  const cleoFirst = next(bobFirst, {
    host: cleo,
    term: { era: 0n, major: 2n },
    origin: "recovered",
    rolledBackFromTick: bobLast.header.tick,
  });
  const cleoLast = next(cleoFirst, { host: cleo });
  return { created, adaTicks, bobFirst, bobLast, cleoFirst, cleoLast };
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
