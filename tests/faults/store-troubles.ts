// What is done to a store, and to hosts and registries at the same time, while agents move.

import { cp, readdir, rename, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "@godwit/common/clock";
import type { HostNode, RedisServer } from "@godwit/testing";
import { Redis } from "ioredis";
import type { Flock } from "./flock.ts";
import { markOf } from "./store-marks.ts";

export interface StoreRound {
  readonly loss: "flushall" | "rollback" | "unsynced";
  readonly dies?: "registries" | "host" | "both";
  /** A host stands still until others have its agents, and goes on once the store has forgotten that (GA-8). */
  readonly sleeps?: true;
  /** A host hears nothing of the loss, and ticks under the lease that it has for as long as that lasts (GA-6). */
  readonly deaf?: true;
}

/** Takes down what the store is set back to; what it gives makes the store forget what came after, and is it running again. */
export async function forgetter({ loss }: StoreRound, redis: RedisServer): Promise<() => Promise<void>> {
  const [kept, copy] = [join(redis.dir, "appendonlydir"), join(redis.dir, "copy")];
  switch (loss) {
    case "flushall":
      return async () => {
        const client = new Redis(redis.url);
        await client.flushall();
        client.disconnect();
      };
    case "rollback":
      await cp(kept, copy, { recursive: true });
      return async () => {
        await redis.kill();
        await rm(kept, { recursive: true });
        await rename(copy, kept);
        await redis.restart();
      };
    case "unsynced": {
      // A process that is killed leaves what it wrote to the kernel; a machine that loses power does not.
      const [name] = (await readdir(kept)).filter((file) => file.endsWith(".incr.aof"));
      if (name === undefined) throw new Error(`no log of commands in ${kept}`);
      const log = join(kept, name);
      const { size: synced } = await stat(log);
      return async () => {
        await redis.kill();
        const { size: written } = await stat(log);
        // Somewhere in the middle of a command.
        await truncate(log, synced + Math.floor((written - synced) / 3));
        await redis.restart();
      };
    }
  }
}

export async function someHostDies(flock: Flock, seed: number): Promise<HostNode> {
  const host = someHost(flock, seed);
  await host.kill();
  return host;
}

/** What was sent meanwhile arrives then. */
export async function hearsAgain(flock: Flock, deaf: HostNode): Promise<void> {
  try {
    await flock.comes(`the lease of ${deaf.name} ends`, async (limited) => {
      return !(await deaf.host.describeHost({}, { signal: limited })).leaseValid;
    });
  } finally {
    deaf.proxies.registry?.calm();
  }
}

function someHost({ hosts, deaf }: Flock, seed: number): HostNode {
  const others = hosts.filter((host) => host !== deaf);
  const host = others[seed % others.length];
  if (host === undefined) throw new Error("there is no host");
  return host;
}

/** It hears nothing until `resume`; by then its agents are others'. */
export async function someHostSleeps(flock: Flock, seed: number): Promise<HostNode> {
  const { agents, watch } = flock;
  const host = someHost(flock, seed);
  host.pause();
  try {
    await flock.comes(`others have what ${host.name} ran`, () =>
      agents.every((id) => watch.ownerOf(id) !== host.hostId),
    );
    return host;
  } catch (error) {
    host.resume();
    throw error;
  }
}

export async function registriesDieInQuarantine(
  flock: Flock,
  { above, afterMs, signal }: { readonly above: bigint; readonly afterMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const { registries } = flock;
  const inQuarantine = async (limited: AbortSignal) =>
    (await Promise.all(registries.map((registry) => markOf(registry, limited)))).every(
      ({ counter, quarantine }) => counter > above && quarantine,
    );
  await flock.comes("both registries are in quarantine", inQuarantine);
  await systemClock.sleep(afterMs, signal);
  await Promise.all(registries.map((registry) => registry.kill()));
  for (const registry of registries) registry.process.start();
  await flock.comes("both registries are in quarantine again", inQuarantine);
}
