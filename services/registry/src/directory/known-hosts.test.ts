import { create, toBinary } from "@bufbuild/protobuf";
import { HostInfoSchema } from "@godwit/proto/godwit/registry/v1/directory";
import { expect, test } from "vitest";
import type { DirectoryStore, HostChanges, StoredHost } from "../store/registry-store.ts";
import { KnownHosts } from "./known-hosts.ts";

const mark = new Uint8Array([1]);

function host(hostId: string, version: number): StoredHost {
  const info = toBinary(HostInfoSchema, create(HostInfoSchema, { hostId }));
  return { hostId, version, info, draining: false, failures: 0, lastFailureAtMs: 0, live: true };
}

/** A store whose answers are as of the moment at which it was asked, and come when the test lets them. */
class SlowStore {
  hosts: readonly StoredHost[] = [];
  readonly #waiting: (() => void)[] = [];

  get asked(): number {
    return this.#waiting.length;
  }

  readHosts(_: Uint8Array, afterVersion: number): Promise<HostChanges> {
    const hosts = this.hosts.filter(({ version }) => version > afterVersion);
    const latest = Math.max(0, ...this.hosts.map(({ version }) => version));
    return new Promise((resolve) => this.#waiting.push(() => resolve({ hosts, latest })));
  }

  answer(): void {
    this.#waiting.shift()?.();
  }
}

const knownOf = (store: SlowStore) => new KnownHosts(store as unknown as DirectoryStore, mark);
const ids = (known: KnownHosts) => known.byId.map(({ hostId }) => hostId);

async function settle(store: SlowStore, question: Promise<void>): Promise<void> {
  let open = true;
  void question.finally(() => {
    open = false;
  });
  while (open) {
    store.answer();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

test("what was written before a question is in its answer, also while an older question is under way", async () => {
  const store = new SlowStore();
  const known = knownOf(store);
  const older = known.refresh();
  store.hosts = [host("a", 1)];
  const newer = known.refresh();
  await settle(store, older);
  expect(ids(known)).toEqual([]);
  await settle(store, newer);
  expect(ids(known)).toEqual(["a"]);
});

test("questions that wait share one reading", async () => {
  const store = new SlowStore();
  const known = knownOf(store);
  const first = known.refresh();
  const [second, third] = [known.refresh(), known.refresh()];
  expect(second).toBe(third);
  await settle(store, first);
  expect(store.asked).toBe(1);
  await settle(store, second);
  expect(store.asked).toBe(0);
});

test("a store that has an older directory than the one that is known is read anew", async () => {
  const store = new SlowStore();
  const known = knownOf(store);
  store.hosts = [host("a", 1), host("b", 7)];
  await settle(store, known.refresh());
  expect(ids(known)).toEqual(["a", "b"]);
  store.hosts = [host("a", 1), host("c", 2)];
  await settle(store, known.refresh());
  expect(ids(known)).toEqual(["a", "c"]);
  expect(known.byPrice.map(({ hostId }) => hostId)).toEqual(["a", "c"]);
});
