// Either host cut off from the registry, and the registry from its store, in the middle of a migration. What was sent
// meanwhile arrives when the network is back, which is worse than never (testing.md, faults 3 to 5).

import { FaultProxy, type RedisServer, startRedis } from "@godwit/testing";
import type { SuiteRules } from "./frames.ts";
import { type Outcome, outcomeOf } from "./judge.ts";
import { Company, type CompanyRules, isStopped, type Lease, longLease, type ProcessHost } from "./processes.ts";

export interface PartitionRules extends SuiteRules {
  /** `bounded`: one of each kind, and no lease that ends. */
  readonly share: "all" | "bounded";
}

const ways = ["both", "to-server", "to-client"] as const;
type Way = (typeof ways)[number];

interface PartitionCase {
  readonly who: "source" | "target" | "store";
  /** Who stands there has the network cut under it, and goes on. */
  readonly point: string;
  readonly way: Way;
}

const cases: Readonly<Record<PartitionCase["who"], readonly string[]>> = {
  source: ["source.before-begin", "source.after-begin", "source.after-relinquish", "source.after-started"],
  target: ["target.before-claim", "target.after-claim"],
  store: ["begin.before-apply", "begin.before-reply", "claim.before-apply", "claim.before-reply"],
};

/** It ends while the network is away. */
const shortLease: Lease = { duration: "6s", grace: "1s" };
const maxTries = 5;
/** After so many cuts another agent is taken. */
const agentLives = 6;

export function partitionCases(share: "all" | "bounded"): readonly PartitionCase[] {
  if (share === "bounded") {
    return [
      { who: "source", point: "source.before-begin", way: "both" },
      { who: "target", point: "target.before-claim", way: "to-client" },
      { who: "store", point: "claim.before-apply", way: "both" },
    ];
  }
  return (["source", "target", "store"] as const).flatMap((who) =>
    cases[who].flatMap((point) => ways.map((way) => ({ who, point, way }))),
  );
}

export async function runPartitions(rules: PartitionRules): Promise<void> {
  const { say, share, only = "" } = rules;
  const asked = partitionCases(share).filter(({ point }) => point.includes(only));
  say(`${asked.length} partitions that end before a lease does`);
  await runWith(rules, asked, longLease);
  if (share === "bounded") return;
  say(`${asked.length} partitions that outlive the lease`);
  await runWith(rules, asked, shortLease);
}

async function runWith(
  { tally, signal, say }: PartitionRules,
  asked: readonly PartitionCase[],
  lease: Lease,
): Promise<void> {
  await using redis = await startRedis({ aof: true });
  await using net = await Net.start(redis, { lease }, signal);
  for (const [index, one] of asked.entries()) {
    signal.throwIfAborted();
    const kind = `partition: ${one.who}`;
    try {
      tally.fired(kind, await net.cut(one));
    } catch (error) {
      signal.throwIfAborted();
      tally.failed(kind, `partition: ${one.who} ${one.way} at ${one.point}, lease ${lease.duration}`, error);
      await net.anew();
    }
    if ((index + 1) % 5 === 0) say(`${index + 1} of ${asked.length} partitions`);
  }
}

class Net implements AsyncDisposable {
  readonly #company: Company;
  readonly #store: FaultProxy;
  readonly #lease: Lease;
  #agentId: string | undefined;
  #cuts = 0;

  static async start(redis: RedisServer, { lease }: Pick<CompanyRules, "lease">, signal: AbortSignal): Promise<Net> {
    const store = await FaultProxy.start({ targetPort: redis.port });
    try {
      const company = await Company.start(
        {
          lease,
          redisUrl: `redis://${store.address}`,
          registryEnv: { GODWIT_REDIS_TIMEOUT: "1s" },
          hostEnv: { GODWIT_REGISTRY_TIMEOUT: "1s" },
          proxied: ["registry"],
        },
        signal,
      );
      return new Net(company, store, lease);
    } catch (error) {
      await store.stop();
      throw error;
    }
  }

  private constructor(company: Company, store: FaultProxy, lease: Lease) {
    this.#company = company;
    this.#store = store;
    this.#lease = lease;
  }

  async cut(asked: PartitionCase): Promise<Outcome> {
    for (let tries = 0; tries < maxTries; tries++) {
      const outcome = await this.#once(asked);
      if (outcome !== undefined) return outcome;
    }
    throw new Error(`the point was not reached in ${maxTries} migrations`);
  }

  async anew(): Promise<void> {
    this.#agentId = undefined;
    this.#store.calm();
    for (const { node } of this.#company.hosts) node.proxies.registry?.calm();
    await this.#company.registry.restart();
    for (const { node } of this.#company.hosts) await node.restart();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#company[Symbol.asyncDispose]();
    await this.#store.stop();
  }

  async #once({ who, point, way }: PartitionCase): Promise<Outcome | undefined> {
    const company = this.#company;
    if (this.#agentId === undefined) this.#agentId = await company.run(company.hosts[0], company.newName());
    else if (++this.#cuts % agentLives === 0) this.#agentId = await company.replace(this.#agentId);
    const agentId = this.#agentId;
    const before = await company.settle(agentId);
    const source = before.owner;
    const [node, proxy] = this.#place(who, source);
    await node.armCrashPoint({ point, action: "stop" });
    const moving = company.move(source, agentId);
    const stands = await company.comes(`${point} is reached`, () => isStopped(node.pid));
    proxy.partition(...(way === "both" ? [] : [way]));
    node.resume();
    // Its questions are asked, and not answered, for that long; the lease decides whether they matter.
    if (stands) await this.#held(proxy);
    if (stands && this.#lease === shortLease) await this.#leaseEnds(who === "target" ? company.other(source) : source);
    proxy.calm();
    await moving;
    if (!stands) await node.restart();
    const after = await company.settle(agentId);
    return stands ? outcomeOf({ owner: source, major: before.status.major }, after) : undefined;
  }

  #place(who: PartitionCase["who"], source: ProcessHost) {
    if (who === "store") return [this.#company.registry, this.#store] as const;
    const { node } = who === "source" ? source : this.#company.other(source);
    if (node.proxies.registry === undefined) throw new TypeError("the host has no proxy");
    return [node, node.proxies.registry] as const;
  }

  /** The fault has fired: something was sent, and does not arrive. */
  async #held(proxy: FaultProxy): Promise<void> {
    const { toServer, toClient } = proxy.counts;
    const before = toServer.heldChunks + toClient.heldChunks;
    const held = () => proxy.counts.toServer.heldChunks + proxy.counts.toClient.heldChunks > before;
    if (!(await this.#company.comes("something is held", held))) throw new Error("the partition held nothing back");
  }

  async #leaseEnds({ host, name }: ProcessHost): Promise<void> {
    const ended = async () => !(await host.describeHost({})).leaseValid;
    if (!(await this.#company.comes(`the lease of ${name} ends`, ended, 60_000)))
      throw new Error("the lease did not end");
  }
}
