// What the disk has to say about an agent that the registry's store may have forgotten (GA-9); the judge is @godwit/migration's.

import type { CheckpointRef } from "@godwit/common/lease";
import { readGenesis, readHeader } from "@godwit/lineage";
import { judgeLoss, type LossVerdict } from "@godwit/migration";
import type { HeldSession, Reading } from "../registry/ports.ts";
import type { DataDirectory, JournalEntry } from "../storage/index.ts";

/** Throws the faults of the data directory. */
export async function judgeLostAgent(
  storage: DataDirectory,
  session: HeldSession,
  {
    agentId,
    journal,
    reading,
  }: { readonly agentId: string; readonly journal: JournalEntry; readonly reading: Reading },
): Promise<LossVerdict> {
  const held = await storage.checkpoints(agentId);
  const [newest] = held;
  const genesis = newest && (await genesisOnDisk(storage, agentId, newest));
  const createdUnder = genesis === undefined ? "" : readGenesis(genesis).incarnation;
  return judgeLoss(reading, { mark: session, journal, createdUnder, held });
}

/** Bytes of the agent's genesis: at the end of the spine of any checkpoint that is held. Throws the faults of `spineFrom`. */
export async function genesisOnDisk(
  storage: DataDirectory,
  agentId: string,
  ref: CheckpointRef,
): Promise<Uint8Array | undefined> {
  const first = (await storage.spineFrom(agentId, ref)).at(-1);
  return first && readHeader(first.payload).genesis;
}
