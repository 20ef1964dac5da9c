// `registry init`: makes the signing key and the store's first mark, and nothing else.

import type { Entropy } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { MarkStore } from "../store/registry-store.ts";
import { findKey, foundKey, settleKey } from "./key-file.ts";
import { newMark } from "./mark.ts";

export interface InitializeParts {
  readonly store: MarkStore & { readonly where: string };
  readonly entropy: Entropy;
}

export interface Initialized {
  readonly incarnation: string;
  readonly publicKey: Uint8Array;
}

/** Throws Fault STORE_ALREADY_INITIALIZED when there is a mark, or a key whose founding is over. */
export async function initialize({ store, entropy }: InitializeParts, keyFile: string): Promise<Initialized> {
  const { identity, mark: found } = await store.readMark();
  if (found !== undefined) throw alreadyAt(store.where);
  const before = await findKey(keyFile);
  if (before !== undefined && !before.founding) throw alreadyAt(keyFile);

  const { signer } = before ?? (await foundKey(keyFile));
  const mark = newMark({ incarnation: entropy.uuid(), storeIdentity: identity }, signer);
  if (!(await store.replaceMark(undefined, mark.bytes))) throw alreadyAt(store.where);
  await settleKey(keyFile);
  return { incarnation: mark.incarnation, publicKey: signer.publicKey };
}

function alreadyAt(where: string): Fault<"STORE_ALREADY_INITIALIZED"> {
  return new Fault({ code: "STORE_ALREADY_INITIALIZED", where });
}
