// What this replica knows of the directory, decoded and in order, so that a question costs one round trip for what changed
// since the last one, however many hosts there are (GH-7).
//
// 1. What is answered holds everything that was written before the question: each one asks the store, and one that comes
//    while an older one is under way waits for the next (which all that wait share).
// 2. What is known belongs to one mark. Under another mark nothing is known; and a store whose newest version is below the
//    one that is known has forgotten, so everything is read anew.
// When a host was seen last is not known here: it changes with every renewal.

import { fromBinary } from "@bufbuild/protobuf";
import { type HostInfo, HostInfoSchema } from "@godwit/proto/godwit/registry/v1/directory";
import type { DirectoryStore, StoredHost } from "../store/registry-store.ts";
import { Sorted } from "./sorted.ts";

export interface KnownHost extends Omit<StoredHost, "info"> {
  readonly info: HostInfo;
}

export class KnownHosts {
  readonly mark: Uint8Array;
  readonly #store: DirectoryStore;
  readonly #hosts = new Map<string, KnownHost>();
  readonly #byId = new Sorted<KnownHost>(compareIds);
  readonly #byPrice = new Sorted<KnownHost>(comparePrices);
  #version = 0;
  #reading: Promise<void> | undefined;
  #nextReading: Promise<void> | undefined;

  constructor(store: DirectoryStore, mark: Uint8Array) {
    this.#store = store;
    this.mark = mark;
  }

  get byId(): readonly KnownHost[] {
    return this.#byId.items;
  }

  /** Cheapest known price first, then those whose price is unknown; of one price by id. */
  get byPrice(): readonly KnownHost[] {
    return this.#byPrice.items;
  }

  get(hostId: string): KnownHost | undefined {
    return this.#hosts.get(hostId);
  }

  /** A reading that begins after this was called. Throws what the store throws. */
  refresh(): Promise<void> {
    if (this.#reading === undefined) return this.#beginReading();
    this.#nextReading ??= this.#reading
      .catch(() => {}) // who waited for it has heard of it
      .then(() => {
        this.#nextReading = undefined;
        return this.#beginReading();
      });
    return this.#nextReading;
  }

  #beginReading(): Promise<void> {
    const reading = this.#read().finally(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
    this.#reading = reading;
    return reading;
  }

  async #read(): Promise<void> {
    for (;;) {
      const { hosts, latest } = await this.#store.readHosts(this.mark, this.#version);
      if (latest < this.#version) {
        this.#forget();
        continue;
      }
      for (const host of hosts) this.#put(host);
      if (hosts.length === 0 || this.#version >= latest) return;
    }
  }

  #put(stored: StoredHost): void {
    const host: KnownHost = { ...stored, info: fromBinary(HostInfoSchema, stored.info) };
    const before = this.#hosts.get(stored.hostId);
    if (before !== undefined) {
      this.#byId.remove(before);
      this.#byPrice.remove(before);
    }
    this.#hosts.set(host.hostId, host);
    this.#byId.add(host);
    this.#byPrice.add(host);
    this.#version = stored.version;
  }

  #forget(): void {
    for (const host of this.#hosts.values()) {
      this.#byId.remove(host);
      this.#byPrice.remove(host);
    }
    this.#hosts.clear();
    this.#version = 0;
  }
}

function compareIds(a: KnownHost, b: KnownHost): number {
  return a.hostId < b.hostId ? -1 : a.hostId > b.hostId ? 1 : 0;
}

function comparePrices(a: KnownHost, b: KnownHost): number {
  const [priceA, priceB] = [a.info.pricePerSecond, b.info.pricePerSecond];
  if (priceA === priceB) return compareIds(a, b);
  if (priceA === 0n) return 1;
  if (priceB === 0n) return -1;
  return priceA < priceB ? -1 : 1;
}
