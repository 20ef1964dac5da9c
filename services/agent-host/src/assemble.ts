// The graph of an agent-host: everything but its listeners, channels, libp2p node and worker threads, which `compose` makes
// for a process, and the simulator for itself. Nothing starts here.

import { create } from "@bufbuild/protobuf";
import type { Clock, Entropy, Random } from "@godwit/common/clock";
import type { ValuesOf } from "@godwit/common/config";
import { Fault } from "@godwit/common/fault";
import { remainingMs } from "@godwit/common/lease";
import { RetryBudget } from "@godwit/common/retry";
import type { RpcChannel, ServedService } from "@godwit/grpc";
import { DEFAULT_CHECKPOINT_LIMITS, hostIdOf, signerFromSeed } from "@godwit/lineage";
import { MigrateAgentRequestSchema } from "@godwit/proto/godwit/host/v1/host";
import { capabilities as allCapabilities, type Capability } from "@godwit/sandbox";
import { type CrashPoints, type Part, part } from "@godwit/service";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { AfterLoss } from "./agents/after-loss.ts";
import { Announcements } from "./agents/announcements.ts";
import { Funder } from "./agents/funder.ts";
import { HeadReports } from "./agents/head-reports.ts";
import { Incoming } from "./agents/incoming.ts";
import { Offers } from "./agents/offers.ts";
import { type ReplayRules, verifiesIncoming, verifiesOwn } from "./agents/replay-policy.ts";
import { type ReplayedSegment, ReplayVerifier } from "./agents/replay-verifier.ts";
import { Roster } from "./agents/roster.ts";
import { type AgentSandbox, defaultSupervisorRules, type EndedTick } from "./agents/supervisor-parts.ts";
import { BlobCollection, defaultBlobCollectionRules } from "./blob-collection.ts";
import { type hostOptions, retryPolicyOf } from "./config.ts";
import { hostService } from "./grpc/host-service.ts";
import { createHostMetrics, type HostMetrics } from "./metrics.ts";
import { migrateCall } from "./migrate-call.ts";
import type { SourceCrashPoint, TargetCrashPoint } from "./migration/crash-points.ts";
import { MigrationSource } from "./migration/migration-source.ts";
import { MigrationTarget } from "./migration/migration-target.ts";
import { defaultMigrationTimeouts, type MigrationTimeouts } from "./migration/wire.ts";
import { migrationDirectory } from "./migration-directory.ts";
import type { ConnectedPeer, StreamFaults, StreamOpener, StreamServer } from "./p2p/index.ts";
import { PricingClient } from "./pricing-client.ts";
import { HostDirectory } from "./registry/directory.ts";
import { GrpcAuthority } from "./registry/grpc-authority.ts";
import { GrpcSessions, signOpening } from "./registry/grpc-sessions.ts";
import { signReassertion } from "./registry/reassertion.ts";
import { SessionKeeper } from "./registry/session-keeper.ts";
import {
  DEFAULT_REPLICA_SERVER_RULES,
  DEFAULT_REPLICATOR_RULES,
  ReplicaServer,
  Replicator,
  StoredReplicas,
} from "./replication/index.ts";
import { replicationSource } from "./replication-source.ts";
import { SelfEntry } from "./self-entry.ts";
import type { DataDirectory } from "./storage/index.ts";

export type HostCrashPoint = SourceCrashPoint | TargetCrashPoint;
export type HostConfig = ValuesOf<typeof hostOptions>;

/** The host's place in the network. */
export interface HostNode extends StreamOpener, StreamServer {
  /** Multiaddrs that others are told, without the peer id. */
  addresses(): readonly string[];
  connectedPeers(): readonly ConnectedPeer[];
}

/** What a host works with and does not make itself. */
export interface HostPorts {
  /** Open; its owner closes it. */
  readonly storage: DataDirectory;
  readonly node: HostNode;
  readonly registry: RpcChannel;
  readonly pricing: RpcChannel | undefined;
  readonly sandbox: AgentSandbox;
  readonly faults: StreamFaults;
  readonly crashPoints: Pick<CrashPoints<HostCrashPoint>, "reach">;
  readonly clock: Clock;
  readonly random: Random;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly metrics: Registry;
  /** Where others reach its HostService; asked once the host was started. */
  readonly grpcAddress: () => string;
  /** Told of every tick that ended, also of those that were thrown away. */
  readonly onTick?: (ended: EndedTick) => void;
  /** Told of all of its own agents' ticks that were run again. */
  readonly onReplayed?: (segment: ReplayedSegment) => void;
  /** Read whenever a wait begins; the defaults when unset. */
  readonly migrationTimeouts?: MigrationTimeouts;
}

export interface HostGraph {
  readonly hostId: string;
  readonly name: string;
  readonly keeper: SessionKeeper;
  readonly roster: Roster;
  readonly funder: Funder;
  readonly self: SelfEntry;
  readonly service: ServedService;
  readonly metrics: HostMetrics;
  /** What runs of it, in the order in which it starts; the network has to be there, and the channels. */
  readonly parts: readonly Part[];
}

const version = "0.1.0";
const settleWithinMs = 5_000;

/** Throws Fault CONFIG_INVALID. */
export function assemble(options: HostConfig, ports: HostPorts): HostGraph {
  const { storage, node, sandbox, faults, crashPoints, clock, random, entropy, logger } = ports;
  const { migrationTimeouts = defaultMigrationTimeouts } = ports;
  const offered = capabilitiesOf(options.capabilities);
  const policy = retryPolicyOf(options);
  const replayRules: ReplayRules = {
    mode: options.replayMode,
    verifyIntervalTicks: options.verifyInterval,
    onDivergence: options.replayOnDivergence,
  };
  const signer = signerFromSeed(storage.hostSeed);
  const hostId = hostIdOf(signer.publicKey);
  const name = options.name ?? hostId.slice(-8);

  const authority = new GrpcAuthority(ports.registry);
  const keeper = new SessionKeeper(
    {
      sessions: new GrpcSessions(ports.registry),
      signOpening: (opening) => signOpening(opening, signer),
      signReassertion: (claim) => signReassertion(claim, signer),
      carried: () => roster.carried(),
      memory: storage,
      clock,
      random,
      entropy,
      logger: logger.child({ part: "session" }),
    },
    { hostId, callTimeoutMs: options.registryTimeoutMs, maxReopenDelayMs: 1_000 },
  );
  const directory = new HostDirectory({ channel: ports.registry, session: keeper, clock, logger });
  const pricing = ports.pricing && new PricingClient({ channel: ports.pricing, signer, clock });

  const metrics: HostMetrics = createHostMetrics(ports.metrics, {
    agents: () => roster.size,
    stagedHandoffs: () => storage.staged().length,
    leaseRemainingSeconds: () => remainingMs(keeper.lease, keeper.reading()) / 1_000,
  });
  const self = new SelfEntry(
    { directory, pricing, keeper, clock, logger: logger.child({ part: "self" }) },
    {
      hostId,
      name,
      capabilities: [...offered],
      labels: labelsOf(options.label),
      maxMemoryBytes: BigInt(options.maxMemory),
      price: BigInt(options.price),
      addresses: () => node.addresses(),
      grpcAddress: ports.grpcAddress,
    },
  );
  const isKnownHost = async (id: string, signal: AbortSignal) => (await directory.get(id, signal)) !== undefined;
  const replicator = new Replicator(
    {
      streams: node,
      source: replicationSource(storage, (agentId) => roster.supervisor(agentId)?.receipts ?? []),
      targets: {
        hosts: async (signal) => {
          const hosts = await directory.list(signal);
          return hosts.filter((host) => host.live && !host.draining && host.hostId !== hostId);
        },
      },
      clock,
      random,
      logger: logger.child({ part: "replication" }),
      onPush: (outcome) => metrics.replicaPushes.inc({ outcome }),
    },
    { ...DEFAULT_REPLICATOR_RULES, replicas: options.replicas },
  );
  const replicas = new ReplicaServer(
    {
      streams: node,
      store: new StoredReplicas(
        {
          storage,
          registryKey: () => keeper.registryKey,
          runsHere: (agentId) => roster.supervisor(agentId) !== undefined,
          onHeld: (agentId) => announcements.changed(agentId),
        },
        {
          maxModuleBytes: options.maxModule,
          maxStateBytes: DEFAULT_CHECKPOINT_LIMITS.maxStateBytes,
          fullAtBytes: options.copiesUpTo,
        },
      ),
      isKnownHost,
      clock,
      logger: logger.child({ part: "replication" }),
    },
    { ...DEFAULT_REPLICA_SERVER_RULES, hostId },
  );
  const announcements = new Announcements({
    authority,
    session: keeper,
    clock,
    logger,
    held: async (agentId) => {
      // In doubt it is held and not run: unannounced, what it has could lose to an older replica when its session ends (§4).
      const tenure = roster.supervisor(agentId)?.tenancy.tenure.kind ?? "RECOVERY_REQUIRED";
      const phase = storage.agent(agentId)?.journal.phase;
      if (tenure !== "RECOVERY_REQUIRED" || phase === "terminated") return undefined;
      return await storage.newestHeader(agentId);
    },
  });
  const reports = new HeadReports({
    authority,
    session: keeper,
    clock,
    entropy,
    logger,
    onAnswer: (agentId, term, answer) => roster.supervisor(agentId)?.tenancy.reported(term, answer),
  });
  const roster = new Roster(
    {
      authority,
      keeper,
      storage,
      sandbox,
      signer,
      clock,
      random,
      entropy,
      logger: logger.child({ part: "agents" }),
      price: () => self.price,
      onCommitted: (agentId, checkpoint) => {
        reports.committed(agentId, checkpoint);
        replicator.committed(agentId, checkpoint);
        verifier.committed(agentId);
        metrics.checkpoints.inc();
        metrics.checkpointBytes.inc(checkpoint.state.length);
      },
      onStanding: (agentId, checkpoint) => {
        replicator.committed(agentId, checkpoint);
        announcements.changed(agentId); // what was announced while in doubt is run now
      },
      onLeft: (agentId) => {
        verifier.left(agentId);
        const journal = storage.agent(agentId)?.journal;
        if (journal?.phase === "terminated") replicator.terminated(agentId, journal.termination);
        else replicator.left(agentId);
      },
      onHeldChanged: (agentId) => announcements.changed(agentId),
      announced: () => announcements.caughtUp(),
      onTick: (ended) => {
        metrics.ticks.inc({ outcome: ended.outcome });
        if (ended.elapsedNs !== undefined) metrics.tickSeconds.observe(Number(ended.elapsedNs) / 1e9);
        ports.onTick?.(ended);
      },
    },
    {
      hostId,
      capabilities: offered,
      maxMemoryBytes: options.maxMemory,
      trustDataLock: options.trustDataLock,
      supervisor: {
        ...defaultSupervisorRules,
        tickEveryMs: options.tickEveryMs,
        moreWorkEveryMs: options.moreWorkEveryMs,
        checkpointEveryMs: options.checkpointEveryMs,
        replayWindow: {
          ...defaultSupervisorRules.replayWindow,
          ticks: options.replayWindow,
          untilVerified: verifiesOwn(replayRules),
        },
      },
      settleWithinMs,
    },
  );
  const verifier = new ReplayVerifier(
    {
      agent: (agentId) => roster.supervisor(agentId),
      migrate: async (agentId, signal) => {
        const request = create(MigrateAgentRequestSchema, { agentId, allowFallback: true });
        let last: string | undefined;
        for await (const { event } of migrateCall({ roster, storage, source, metrics }, policy, {
          agentId,
          request,
          signal,
        })) {
          last = event?.case;
        }
        return last === "done";
      },
      clock,
      logger: logger.child({ part: "replay" }),
      onSegment: (segment) => {
        const { outcome, ticks, elapsedNs } = segment;
        ports.onReplayed?.(segment);
        metrics.replayedTicks.inc({ outcome }, ticks);
        metrics.replaySeconds.inc(Number(elapsedNs) / 1e9);
        if (options.replayCostLog) logger.info({ outcome, ticks, replayMs: Number(elapsedNs) / 1e6 }, "replay");
      },
    },
    replayRules,
  );
  roster.attach();
  const funder = new Funder(
    { agents: roster, authority, storage, clock, reported: (agentId) => reports.reported(agentId) },
    { withinMs: settleWithinMs },
  );
  const offers = new Offers({
    authority,
    session: keeper,
    clock,
    random,
    logger,
    onOffer: ({ agentId }) => {
      if (storage.agent(agentId) === undefined) return;
      const supervisor = roster.supervisor(agentId);
      // It waits for what the offer tells of: asked later, the registry may have offered the agent to somebody else.
      if (supervisor !== undefined) return supervisor.nudge();
      logger.info({ agentId }, "offered by the registry: recovering it");
      roster
        .recover(agentId, new AbortController().signal)
        .catch((err: unknown) => logger.info({ err, agentId }, "offer not taken up"));
    },
  });
  const afterLoss = new AfterLoss({
    authority,
    session: keeper,
    storage,
    clock,
    random,
    logger: logger.child({ part: "agents" }),
    runsHere: (agentId) => roster.supervisor(agentId) !== undefined,
    recover: (agentId) => roster.superviseLost(agentId),
  });
  let isStopping = false;
  const incoming = new Incoming({
    roster,
    storage,
    sandbox,
    authority,
    keeper,
    entropy,
    logger: logger.child({ part: "migration" }),
    facts: () => ({
      hostId,
      pricePerSecond: self.price,
      capabilities: [...offered],
      maxMemoryBytes: options.maxMemory,
      maxModuleBytes: options.maxModule,
      maxStateBytes: DEFAULT_CHECKPOINT_LIMITS.maxStateBytes,
      notNow: isStopping
        ? "stopping"
        : keeper.trouble !== undefined
          ? "no-session"
          : self.isDraining
            ? "draining"
            : undefined,
      verifiesReplays: verifiesIncoming(replayRules.mode),
      registryKey: keeper.registryKey,
    }),
  });
  const target = new MigrationTarget(
    {
      server: node,
      host: incoming,
      isKnownHost,
      faults,
      crashPoints,
      clock,
      random,
      logger: logger.child({ part: "migration" }),
    },
    { maxIncoming: options.maxIncomingMigrations, timeouts: migrationTimeouts },
  );
  const source = new MigrationSource(
    {
      opener: node,
      directory: migrationDirectory(directory, pricing, logger),
      faults,
      crashPoints,
      clock,
      random,
      entropy,
      retryBudget: new RetryBudget(),
      hostId,
    },
    migrationTimeouts,
  );

  const blobs = new BlobCollection(
    { storage, clock, logger: logger.child({ part: "storage" }) },
    defaultBlobCollectionRules,
  );

  const service = hostService(
    {
      roster,
      funder,
      keeper,
      storage,
      migrate: (agentId, request, signal) =>
        migrateCall({ roster, storage, source, metrics }, policy, { agentId, request, signal }),
      divergences: (agentId) => verifier.standing(agentId).divergences,
      connectedPeers: () =>
        node.connectedPeers().map(({ direction, ...peer }) => ({ ...peer, inbound: direction === "inbound" })),
      addresses: () => node.addresses(),
      price: { get: () => self.price, set: (price) => self.setPrice(price) },
    },
    { hostId, name, capabilities: [...offered], version, maxModuleBytes: options.maxModule },
  );

  return {
    hostId,
    name,
    keeper,
    roster,
    funder,
    self,
    service,
    metrics,
    parts: [
      part("unneeded modules", blobs),
      part("session", keeper),
      part("self", self),
      part("announcements", announcements),
      part("head reports", reports),
      part("replicas", replicas),
      part("replication", replicator),
      part("agents", roster),
      part("replays", verifier),
      part("offers", offers),
      part("lost agents", afterLoss),
      part("incoming migrations", {
        start: () => target.start(),
        stop: async () => {
          isStopping = true;
          await target.stop();
        },
      }),
      part("outgoing migrations", { stop: () => source.stop() }),
    ],
  };
}

function capabilitiesOf(names: readonly string[]): ReadonlySet<Capability> {
  const problems: string[] = [];
  const offered = names.flatMap((name) => {
    const known = allCapabilities.find((capability) => capability === name);
    if (known === undefined && name !== "")
      problems.push(`--capabilities: there is no ${name}, only ${allCapabilities.join(", ")}`);
    return known ?? [];
  });
  if (problems.length > 0) throw new Fault({ code: "CONFIG_INVALID", problems });
  return new Set(offered);
}

function labelsOf(pairs: readonly string[]): Readonly<Record<string, string>> {
  const entries = pairs.map((pair) => {
    const at = pair.indexOf("=");
    if (at < 1) throw new Fault({ code: "CONFIG_INVALID", problems: [`--label: ${pair} is not KEY=VALUE`] });
    return [pair.slice(0, at), pair.slice(at + 1)] as const;
  });
  return Object.fromEntries(entries);
}
