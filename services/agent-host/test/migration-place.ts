// Hosts that hand a story's agent to one another over real connections, for tests.

import { randomUUID } from "node:crypto";
import { systemClock, systemEntropy, systemRandom } from "@godwit/common/clock";
import { Fault } from "@godwit/common/fault";
import type { AuthorityRecord, SignedBytes } from "@godwit/common/lease";
import { ClassifiedFault, type Failure, RetryBudget, type RetryPolicy } from "@godwit/common/retry";
import type { Checkpoint } from "@godwit/lineage";
import type { CampaignAim, OfferFrame } from "@godwit/migration";
import type { ReplayedTicks, ReplayResult } from "@godwit/sandbox";
import pino from "pino";
import { onTestFinished } from "vitest";
import type { SourceCrashPoint, TargetCrashPoint } from "../src/migration/crash-points.ts";
import { type MigrationEvent, MigrationSource } from "../src/migration/migration-source.ts";
import { MigrationTarget } from "../src/migration/migration-target.ts";
import type { ClaimResult, HostFacts, IncomingAgent, MigrationDirectory, TargetHost } from "../src/migration/ports.ts";
import type { VerifiedHandoff } from "../src/migration/verify-handoff.ts";
import { defaultMigrationTimeouts, type MigrationTimeouts } from "../src/migration/wire.ts";
import { P2pNode, StreamFaults } from "../src/p2p/index.ts";
import { registryKey, type Story, StoryAgent, type StoryHost, storyHost } from "./migration-story.ts";

const logger = pino({ level: "silent" });
const MIB = 1024 * 1024;

/** For tests in which nothing is waited for in vain: a machine that is shared with others is slow, and not wrong. */
export const patient: MigrationTimeouts = {
  ...defaultMigrationTimeouts,
  connectMs: 50_000,
  acceptMs: 50_000,
  preparedMs: 50_000,
  startedMs: 50_000,
  partMs: 50_000,
  closeMs: 5_000,
  stopMs: 300,
};

/** For those that wait for what never comes: long enough for what does. */
export const quick: MigrationTimeouts = {
  ...patient,
  acceptMs: 4_000,
  preparedMs: 4_000,
  startedMs: 4_000,
  partMs: 4_000,
};

/** What a host is told to be like, for one test. */
export interface HostKnobs {
  price: bigint;
  capabilities: readonly string[];
  notNow: HostFacts["notNow"];
  /** So often it answers an offer with TARGET_BUSY. */
  busy: number;
  /** Hosts that its registry does not know; `unreachable`: nobody answers. */
  strangers: ReadonlySet<string> | "unreachable";
  /** Answers to claims that are lost, one by one: before they were done, or after. */
  claimsLost: ("before" | "after")[];
  beforePrepared: () => Promise<void>;
  beforeStage: () => Promise<void>;
  beforeClaim: () => Promise<void>;
  beforeAdmitted: () => Promise<void>;
  startFails: boolean;
  /** Of what takes time and may begin early, nothing can. */
  expectFails: boolean;
  verifiesReplays: boolean;
}

export class StoryPlace implements TargetHost {
  readonly story: Story;
  readonly host: StoryHost & { readonly seed: Uint8Array };
  readonly node: P2pNode;
  readonly place: Neighbourhood;
  readonly faults: StreamFaults;
  readonly strikes: string[] = [];
  readonly reached: (SourceCrashPoint | TargetCrashPoint)[] = [];
  readonly reports: string[] = [];
  readonly knobs: HostKnobs = {
    price: 500n,
    capabilities: ["clock", "log"],
    notNow: undefined,
    busy: 0,
    strangers: new Set(),
    claimsLost: [],
    beforePrepared: async () => {},
    beforeStage: async () => {},
    beforeClaim: async () => {},
    beforeAdmitted: async () => {},
    startFails: false,
    expectFails: false,
    verifiesReplays: false,
  };
  readonly source: MigrationSource;
  readonly target: MigrationTarget;
  /** The agent as this host runs it, or ran it last. */
  agent: StoryAgent | undefined;
  readonly modules = new Set<string>();
  /** Ticks that were run again. */
  readonly replayed: bigint[] = [];
  /** Digests of checkpoints that were expected. */
  readonly expected: string[] = [];
  spineHeld: readonly SignedBytes[] = [];
  staged: VerifiedHandoff | undefined;
  readonly replicas: VerifiedHandoff[] = [];
  readonly left: VerifiedHandoff[] = [];
  admitted = 0;
  /** Admitted, and not ended yet. */
  coming = 0;
  offers = 0;
  modulesTaken = 0;

  constructor(place: Neighbourhood, host: StoryPlace["host"], node: P2pNode, { timeouts, maxIncoming }: PlaceRules) {
    this.place = place;
    this.story = place.story;
    this.host = host;
    this.node = node;
    const onStrike = (fault: string) => void this.strikes.push(fault);
    this.faults = new StreamFaults({ clock: systemClock, onStrike }, { allowed: true });
    const crashPoints = { reach: (point: SourceCrashPoint | TargetCrashPoint) => void this.reached.push(point) };
    const shared = { faults: this.faults, crashPoints, clock: systemClock, random: systemRandom };
    this.source = new MigrationSource(
      {
        ...shared,
        opener: node,
        directory: place.directory(this),
        entropy: systemEntropy,
        retryBudget: new RetryBudget(),
        hostId: host.hostId,
      },
      timeouts,
    );
    this.target = new MigrationTarget(
      {
        ...shared,
        server: node,
        host: this,
        isKnownHost: async (hostId) => {
          const { strangers } = this.knobs;
          if (strangers === "unreachable") throw new Fault({ code: "REGISTRY_UNAVAILABLE", reason: "no answer" });
          return !strangers.has(hostId);
        },
        logger,
      },
      { maxIncoming, timeouts },
    );
  }

  get hostId(): string {
    return this.host.hostId;
  }

  facts(): HostFacts {
    return {
      hostId: this.hostId,
      pricePerSecond: this.knobs.price,
      capabilities: this.knobs.capabilities,
      maxMemoryBytes: 64 * MIB,
      maxModuleBytes: 16 * MIB,
      maxStateBytes: 64 * MIB,
      notNow: this.knobs.notNow,
      verifiesReplays: this.knobs.verifiesReplays,
      registryKey,
    };
  }

  async admit(offer: OfferFrame): Promise<IncomingAgent> {
    this.offers++;
    await this.knobs.beforeAdmitted();
    if (this.agent !== undefined && this.agent.status !== "retired") {
      throw new Fault({ code: "AGENT_EXISTS", agentId: offer.agentId });
    }
    if (this.knobs.busy > 0) {
      this.knobs.busy--;
      throw new ClassifiedFault("retriable", { code: "TARGET_BUSY", hostId: this.hostId });
    }
    this.admitted++;
    this.coming++;
    return new StoryArrival(this, !this.modules.has(offer.moduleDigest));
  }
}

class StoryArrival implements IncomingAgent {
  readonly needModule: boolean;
  readonly spineKnown: readonly SignedBytes[];
  readonly #place: StoryPlace;
  readonly #commandId = randomUUID();

  constructor(place: StoryPlace, needModule: boolean) {
    this.#place = place;
    this.needModule = needModule;
    this.spineKnown = place.spineHeld;
  }

  async prepare(module: Uint8Array | undefined): Promise<void> {
    await this.#place.knobs.beforePrepared();
    if ((module !== undefined) !== this.needModule) throw new Error("a module that nobody needs, or none");
    if (module === undefined) return;
    if (!Buffer.from(module).equals(this.#place.story.module)) throw new Error("another module");
    this.#place.modules.add(this.#place.story.moduleDigest);
    this.#place.modulesTaken++;
  }

  async replay({ state, ticks }: ReplayedTicks): Promise<ReplayResult> {
    const last = ticks.at(-1);
    if (last === undefined) return { kind: "replayed", state, elapsedNs: 0n };
    this.#place.replayed.push(...ticks.map(({ tick }) => tick));
    return { kind: "replayed", state: this.#place.story.stateAt(last.tick), elapsedNs: 1n };
  }

  expect(checkpoint: Checkpoint): void {
    if (this.#place.knobs.expectFails) throw new Error("no instance can be made now");
    this.#place.expected.push(checkpoint.digest);
  }

  async stage(handoff: VerifiedHandoff): Promise<void> {
    await this.#place.knobs.beforeStage();
    this.#place.staged = handoff;
  }

  async drop(): Promise<void> {
    this.#place.staged = undefined;
  }

  async claim(): Promise<ClaimResult> {
    const { knobs, host, story } = this.#place;
    await knobs.beforeClaim();
    const lost = knobs.claimsLost.shift();
    if (lost === "before") return { kind: "unknown" };
    const result = story.claim(host, this.#commandId, this.#staged().signedToken);
    return lost === "after" ? { kind: "unknown" } : result;
  }

  async start(record: AuthorityRecord): Promise<void> {
    const { host, story, knobs } = this.#place;
    const { checkpoint, spine } = this.#staged();
    if (knobs.startFails) throw new Fault({ code: "MODULE_INVALID", reason: "it traps" });
    this.#place.staged = undefined;
    this.#place.spineHeld = [checkpoint.signed, ...spine];
    this.#place.agent = new StoryAgent(story, host, { checkpoint, below: spine, major: record.major });
    this.#place.agent.doTick();
  }

  async abandon(): Promise<void> {
    this.#place.replicas.push(this.#staged());
    this.#place.staged = undefined;
  }

  ended(): void {
    this.#place.coming--;
    if (this.#place.staged !== undefined) this.#place.left.push(this.#place.staged);
    this.#place.staged = undefined;
  }

  #staged(): VerifiedHandoff {
    const { staged } = this.#place;
    if (staged === undefined) throw new Error("nothing is staged");
    return staged;
  }
}

type AtTheEnd = (stop: () => Promise<void>) => void;

interface PlaceRules {
  readonly timeouts: MigrationTimeouts;
  readonly maxIncoming: number;
}

/** Hosts that know one another, in the order in which they came. */
export class Neighbourhood {
  readonly story: Story;
  readonly places: StoryPlace[] = [];
  readonly #rules: PlaceRules;
  readonly #own: StoryPlace[] = [];

  /** Tests that run side by side give the `atTheEnd` of their own context. */
  constructor(
    story: Story,
    { atTheEnd = onTestFinished, ...rules }: Partial<PlaceRules> & { readonly atTheEnd?: AtTheEnd } = {},
  ) {
    this.story = story;
    this.#rules = { timeouts: patient, maxIncoming: 4, ...rules };
    atTheEnd(() => this.#stop());
  }

  async host(byte: number): Promise<StoryPlace> {
    const host = storyHost(byte);
    const node = await startedNode(host.seed);
    const place = new StoryPlace(this, host, node, this.#rules);
    await place.target.start();
    this.#own.push(place);
    this.places.push(place);
    return place;
  }

  async #stop(): Promise<void> {
    await Promise.all(this.#own.map(({ source, target }) => Promise.all([source.stop(), target.stop()])));
    // Who dialled goes first: two ends that close at once wait half a second for each other.
    for (const { node } of this.#own) await node.stop();
  }

  /** A host that the registry names and that is down. */
  ghost(byte: number): string {
    const { hostId } = storyHost(byte);
    this.#ghosts.set(hostId, "/ip4/127.0.0.1/tcp/1");
    return hostId;
  }
  readonly #ghosts = new Map<string, string>();

  directory(self: StoryPlace): MigrationDirectory {
    return {
      candidates: async ({ excludedHostIds }) =>
        [...this.#ghosts.keys(), ...this.places.map(({ hostId }) => hostId)]
          .filter((hostId) => !excludedHostIds.includes(hostId))
          .map((hostId) => ({ hostId, pricePerSecond: undefined })),
      scanPrices: async () => [],
      addressesOf: async (hostId) => {
        const ghost = this.#ghosts.get(hostId);
        if (ghost !== undefined) return [ghost];
        const place = this.places.find((other) => other.hostId === hostId);
        if (place === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId });
        return place.node.addresses();
      },
      reportOutcome: (hostId, outcome) => void self.reports.push(`${this.nameOf(hostId)} ${outcome}`),
    };
  }

  nameOf(hostId: string): string {
    const index = this.places.findIndex((place) => place.hostId === hostId);
    return index === -1 ? "ghost" : `${index}`;
  }

  /** Hosts on which the agent may tick now, by their number. */
  ticking(): readonly string[] {
    return this.places
      .filter(({ agent }) => agent !== undefined && (agent.status === "ticking" || agent.status === "frozen"))
      .map(({ hostId }) => this.nameOf(hostId));
  }

  offences(): readonly string[] {
    return this.places.flatMap(({ agent }) => agent?.offences ?? []);
  }
}

async function startedNode(seed: Uint8Array): Promise<P2pNode> {
  const node = await P2pNode.create({ seed, listen: ["/ip4/127.0.0.1/tcp/0"], announce: [], maxConnections: 50 });
  await node.start();
  return node;
}

const policy: RetryPolicy = { attempts: 3, firstDelayMs: 5, maxDelayMs: 20 };

export interface Told {
  readonly events: readonly MigrationEvent[];
  readonly failures: readonly Failure[];
  readonly tried: readonly string[];
  readonly steps: readonly string[];
  readonly done: (MigrationEvent & { kind: "done" }) | undefined;
  readonly givenUp: Failure | undefined;
}

/** Moves the agent away from `from` and gives what was told of it. */
export async function move(
  from: StoryPlace,
  aim: CampaignAim = { kind: "any-candidate" },
  options: {
    readonly signal?: AbortSignal;
    readonly onEvent?: (event: MigrationEvent) => void;
    readonly timeoutMs?: number;
  } = {},
): Promise<Told> {
  const { agent } = from;
  if (agent === undefined) throw new Error("there is no agent here");
  const { signal = new AbortController().signal, onEvent, timeoutMs = 170_000 } = options;
  const events: MigrationEvent[] = [];
  for await (const event of from.source.migrate(agent, { aim, policy, timeoutMs }, signal)) {
    events.push(event);
    onEvent?.(event);
  }
  return {
    events,
    failures: events.flatMap((event) => (event.kind === "attempt-failed" ? [event.failure] : [])),
    tried: events.flatMap((event) => (event.kind === "attempt" ? [from.place.nameOf(event.hostId)] : [])),
    steps: events.flatMap((event) => (event.kind === "step" ? [event.step] : [])),
    done: events.find((event) => event.kind === "done"),
    givenUp: events.find((event) => event.kind === "given-up")?.failure,
  };
}

export const only = (place: StoryPlace): CampaignAim => ({ kind: "host", hostId: place.hostId, otherwise: "give-up" });
