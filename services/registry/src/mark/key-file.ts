// The registry's signing key on disk: 32 bytes in hex, readable by its owner only.
//
// The key and the store's first mark are made together (§2), and a key without a mark means that the store forgot. So a
// key is born as FILE.founding, and becomes FILE only when the mark is in the store. Until then nobody has served a call
// under it, so whoever finds FILE.founding, the maker after a crash or another replica, may finish the founding.

import { randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { Fault } from "@godwit/common/fault";
import { type Signer, signerFromSeed } from "@godwit/lineage";

export interface FoundKey {
  readonly signer: Signer;
  /** The mark that belongs to it may not be in the store yet. */
  readonly founding: boolean;
}

/** Where a registry's signing key is kept, and made. */
export interface KeyStore {
  /** Undefined when there is none. */
  find(): Promise<FoundKey | undefined>;
  /** Makes one, unless somebody else is quicker: then that one is given. */
  found(): Promise<FoundKey>;
  /** The mark is in the store: from now on a key without a mark is a store that forgot. */
  settle(): Promise<void>;
}

export function fileKeys(file: string): KeyStore {
  return { find: () => findKey(file), found: () => foundKey(file), settle: () => settleKey(file) };
}

/** Undefined when there is none. Throws Fault DATA_CORRUPT, DISK_FAILED. */
export async function findKey(file: string): Promise<FoundKey | undefined> {
  // In this order: the founding file becomes the key file in between, never the other way round.
  const founding = await readSeed(foundingFile(file));
  const settled = await readSeed(file);
  if (settled !== undefined) return { signer: signerFromSeed(settled), founding: false };
  return founding && { signer: signerFromSeed(founding), founding: true };
}

/** Makes a key, unless somebody else is quicker: then that one is given. */
export async function foundKey(file: string): Promise<FoundKey> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const draft = `${foundingFile(file)}.${randomBytes(8).toString("hex")}`;
    await writeDurably(draft, `${randomBytes(32).toString("hex")}\n`);
    try {
      await link(draft, foundingFile(file)); // fails when there is one: whole, or not at all
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    } finally {
      await unlink(draft);
    }
    await syncDirectory(dirname(file));
  } catch (error) {
    throw failed(file, error);
  }
  const found = await findKey(file);
  if (found === undefined) throw failed(file, new Error("the key that was just made is gone"));
  return found;
}

/** The mark is in the store: from now on a key without a mark is a store that forgot. */
export async function settleKey(file: string): Promise<void> {
  try {
    await rename(foundingFile(file), file);
  } catch (error) {
    // Another replica was quicker.
    if (!(hasCode(error, "ENOENT") && (await exists(file)))) throw failed(file, error);
  }
  await syncDirectory(dirname(file)).catch((error: unknown) => {
    throw failed(file, error);
  });
}

function foundingFile(file: string): string {
  return `${file}.founding`;
}

async function readSeed(file: string): Promise<Uint8Array | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw failed(file, error);
  }
  if (!/^[0-9a-f]{64}\n?$/.test(text)) {
    throw new Fault({ code: "DATA_CORRUPT", path: file, reason: "it does not hold a key of 64 hex digits" });
  }
  return new Uint8Array(Buffer.from(text.trim(), "hex"));
}

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, "wx", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function exists(file: string): Promise<boolean> {
  return await stat(file).then(
    () => true,
    () => false,
  );
}

function failed(path: string, error: unknown): Fault<"DISK_FAILED"> {
  const reason = error instanceof Error ? error.message : String(error);
  return new Fault({ code: "DISK_FAILED", path, reason }, { cause: error });
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
