// A data directory for tests, and units that a real host could write.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SignedBytes } from "@godwit/common/lease";
import type { Checkpoint } from "@godwit/lineage";
import { FakeClock } from "@godwit/testing";
import { onTestFinished } from "vitest";
import { DataDirectory, type JournalEntry, type StorageRules } from "../src/storage/index.ts";
import { ada, createAgent, grantOf, next } from "./storage-story.ts";

export const signed: SignedBytes = { payload: Uint8Array.of(1, 2, 3), signature: new Uint8Array(64).fill(9) };

export const identity = { name: "survivor", moduleDigest: "a".repeat(64), manifestDigest: "b".repeat(64) };

export async function temporaryDirectory(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), "godwit-storage-"));
  onTestFinished(() => rm(parent, { recursive: true, force: true }));
  return join(parent, "data");
}

export async function openAt(path: string, rules: Partial<StorageRules> = {}): Promise<DataDirectory> {
  const directory = await DataDirectory.open(path, {
    clock: new FakeClock(),
    rules: { keepHeaders: 1_000, keepStates: 3, ...rules },
  });
  onTestFinished(() => directory.close());
  return directory;
}

export async function openNew(rules: Partial<StorageRules> = {}): Promise<DataDirectory> {
  return await openAt(await temporaryDirectory(), rules);
}

/** A chain of checkpoints by `ada`, tick 0 first. */
export function chain(length: number, nonce = 7): [Checkpoint, ...Checkpoint[]] {
  const checkpoints: [Checkpoint, ...Checkpoint[]] = [createAgent(ada, { nonce })];
  let last = checkpoints[0];
  while (checkpoints.length < length) {
    last = next(last, { host: ada });
    checkpoints.push(last);
  }
  return checkpoints;
}

export function ownerEntry({ header }: Checkpoint): Extract<JournalEntry, { phase: "owner" }> {
  const { agentId, era, major } = header;
  return { phase: "owner", bootId: ada.bootId, era, major, grant: grantOf(agentId, header, ada) };
}
