// The signed headers of an agent that was created and has ticked twice.

import { createGenesis, digestOf, hostIdOf, issueGrant, refOf, signerFromSeed, writeCheckpoint } from "@godwit/lineage";

export const registryKey = signerFromSeed(new Uint8Array(32).fill(9));
export const hostKey = signerFromSeed(new Uint8Array(32).fill(1));
export const hostId = hostIdOf(hostKey.publicKey);
const incarnation = "incarnation-1";

export function lineageStory() {
  const manifestDigest = digestOf(new Uint8Array());
  const moduleDigest = digestOf(new Uint8Array([1]));
  const genesis = createGenesis({
    creatorHostId: hostId,
    moduleDigest,
    manifestDigest,
    incarnation,
    nonce: new Uint8Array(16),
    recoveryPolicy: "latest",
    name: "survivor",
  });
  const common = { agentId: genesis.agentId, era: 0n, generation: 1n, moduleDigest, manifestDigest, remainder: 0n };
  const first = writeCheckpoint(
    {
      ...common,
      major: 0n,
      tick: 0n,
      previous: undefined,
      base: undefined,
      budget: 100n,
      pricePerSecond: 0n,
      receipts: [],
      grant: undefined,
      genesis: genesis.bytes,
      origin: "created",
      rolledBackFromTick: undefined,
      writtenAtNs: 1n,
    },
    new Uint8Array(),
    hostKey,
  );
  const session = { hostId, bootId: "boot-1" };
  const grant = issueGrant(
    { agentId: genesis.agentId, era: 0n, major: 0n, session, incarnation, issuedAtNs: 1n },
    registryKey,
  );
  const second = writeCheckpoint(
    {
      ...common,
      major: 0n,
      tick: 2n,
      previous: first.digest,
      base: refOf(first),
      budget: 100n,
      pricePerSecond: 0n,
      receipts: [
        { hostId, firstTick: 1n, lastTick: 2n, elapsedNs: 5_000_000n, pricePerSecond: 0n, cost: 0n, budgetAfter: 100n },
      ],
      grant,
      genesis: undefined,
      origin: "created",
      rolledBackFromTick: undefined,
      writtenAtNs: 2n,
    },
    new Uint8Array([1]),
    hostKey,
  );
  return { agentId: genesis.agentId, first, second };
}
