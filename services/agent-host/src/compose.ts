// Builds an agent-host: everything by hand, in order. Nothing starts here.

import { formatAddress } from "@godwit/common/config";
import { Fault } from "@godwit/common/fault";
import { remainingMs } from "@godwit/common/lease";
import { RetryBudget } from "@godwit/common/retry";
import { GrpcChannel, GrpcServer } from "@godwit/grpc";
import { DEFAULT_CHECKPOINT_LIMITS, hostIdOf, signerFromSeed } from "@godwit/lineage";
import { capabilities as allCapabilities, type Capability, defaultSandboxRules, Sandbox } from "@godwit/sandbox";
import { advertisedAddress, type Part, part, type ServiceContext } from "@godwit/service";
import { Announcements } from "./agents/announcements.ts";
import { HeadReports } from "./agents/head-reports.ts";
import { Incoming } from "./agents/incoming.ts";
import { Offers } from "./agents/offers.ts";
import { Roster } from "./agents/roster.ts";
import { defaultSupervisorRules } from "./agents/supervisor-parts.ts";
import { type hostOptions, retryPolicyOf } from "./config.ts";
import { hostService } from "./grpc/host-service.ts";
import { createHostMetrics, type HostMetrics } from "./metrics.ts";
import { migrateCall } from "./migrate-call.ts";
import type { SourceCrashPoint, TargetCrashPoint } from "./migration/crash-points.ts";
import { MigrationSource } from "./migration/migration-source.ts";
import { MigrationTarget } from "./migration/migration-target.ts";
import { defaultMigrationTimeouts } from "./migration/wire.ts";
import { migrationDirectory } from "./migration-directory.ts";
import { P2pNode, StreamFaults } from "./p2p/index.ts";
import { PricingClient } from "./pricing-client.ts";
import { HostDirectory } from "./registry/directory.ts";
import { GrpcAuthority } from "./registry/grpc-authority.ts";
import { GrpcSessions, signOpening } from "./registry/grpc-sessions.ts";
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
import { DataDirectory } from "./storage/index.ts";

export type HostCrashPoint = SourceCrashPoint | TargetCrashPoint;
type Context = ServiceContext<typeof hostOptions, HostCrashPoint>;

const version = "0.1.0";
const maxConnections = 1_000;
const settleWithinMs = 5_000;

export async function compose(context: Context): Promise<readonly Part[]> {
  const { options, clock, random, logger, readiness, crashPoints, grpc, tls } = context;
  const offered = capabilitiesOf(options.capabilities);
  const policy = retryPolicyOf(options);
  const faults = streamFaults(context);

  const storage = await DataDirectory.open(options.data, {
    clock,
    rules: { keepHeaders: options.history, keepStates: 3 },
  });
  const signer = signerFromSeed(storage.hostSeed);
  const hostId = hostIdOf(signer.publicKey);
  const name = options.name ?? hostId.slice(-8);
  const node = await P2pNode.create({
    seed: storage.hostSeed,
    listen: options.p2pListen,
    announce: options.p2pAnnounce,
    maxConnections,
  });

  const registryChannel = new GrpcChannel({
    target: options.registry,
    timeoutMs: options.registryTimeoutMs,
    tls: tls?.client,
  });
  const authority = new GrpcAuthority(registryChannel);
  const keeper = new SessionKeeper(
    {
      sessions: new GrpcSessions(registryChannel),
      signOpening: (opening) => signOpening(opening, signer),
      memory: storage,
      clock,
      random,
      logger: logger.child({ part: "session" }),
    },
    { hostId, callTimeoutMs: options.registryTimeoutMs, maxReopenDelayMs: 1_000 },
  );
  readiness.add("registry session", () => keeper.trouble);
  readiness.add("data directory", () => storage.broken?.message);

  const directory = new HostDirectory({ channel: registryChannel, session: keeper, clock, logger });
  const pricingChannel =
    options.pricing === undefined
      ? undefined
      : new GrpcChannel({ target: options.pricing, timeoutMs: options.registryTimeoutMs, tls: tls?.client });
  const pricing = pricingChannel && new PricingClient({ channel: pricingChannel, signer, clock });

  let metrics: HostMetrics | undefined;
  const sandbox = new Sandbox(
    { clock, onWorkerLost: () => metrics?.workersLost.inc() },
    {
      ...defaultSandboxRules,
      workers: options.workers,
      tickTimeoutMs: options.tickTimeoutMs,
      maxMemoryBytes: options.maxMemory,
      maxModuleBytes: options.maxModule,
    },
  );

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
      grpcAddress: () => advertisedAddress(options.grpcAdvertise, { ...options.grpcListen, port: server.port }),
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
      onPush: (outcome) => metrics?.replicaPushes.inc({ outcome }),
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
        { maxModuleBytes: options.maxModule, maxStateBytes: DEFAULT_CHECKPOINT_LIMITS.maxStateBytes },
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
      logger: logger.child({ part: "agents" }),
      price: () => self.price,
      onCommitted: (agentId, checkpoint) => {
        reports.committed(agentId, checkpoint);
        replicator.committed(agentId, checkpoint);
        metrics?.checkpoints.inc();
        metrics?.checkpointBytes.inc(checkpoint.state.length);
      },
      onStanding: (agentId, checkpoint) => {
        replicator.committed(agentId, checkpoint);
        announcements.changed(agentId); // what was announced while in doubt is run now
      },
      onLeft: (agentId) => {
        const journal = storage.agent(agentId)?.journal;
        if (journal?.phase === "terminated") replicator.terminated(agentId, journal.termination);
        else replicator.left(agentId);
      },
      onHeldChanged: (agentId) => announcements.changed(agentId),
      onTick: (outcome, elapsedNs) => {
        metrics?.ticks.inc({ outcome });
        if (elapsedNs !== undefined) metrics?.tickSeconds.observe(Number(elapsedNs) / 1e9);
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
      },
      settleWithinMs,
    },
  );
  roster.attach();
  const offers = new Offers({
    authority,
    session: keeper,
    clock,
    random,
    logger,
    onOffer: ({ agentId }) => {
      if (storage.agent(agentId) === undefined || roster.supervisor(agentId) !== undefined) return;
      logger.info({ agentId }, "offered by the registry: recovering it");
      roster
        .recover(agentId, new AbortController().signal)
        .catch((err: unknown) => logger.info({ err, agentId }, "offer not taken up"));
    },
  });
  metrics = createHostMetrics(context.metrics, {
    agents: () => roster.size,
    leaseRemainingSeconds: () => remainingMs(keeper.lease, keeper.reading()) / 1_000,
  });

  let isStopping = false;
  const incoming = new Incoming({
    roster,
    storage,
    sandbox,
    authority,
    keeper,
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
    { maxIncoming: options.maxIncomingMigrations, timeouts: defaultMigrationTimeouts },
  );
  const source = new MigrationSource(
    {
      opener: node,
      directory: migrationDirectory(directory, pricing, logger),
      faults,
      crashPoints,
      clock,
      random,
      retryBudget: new RetryBudget(),
      hostId,
    },
    defaultMigrationTimeouts,
  );

  const service = hostService(
    {
      roster,
      keeper,
      storage,
      migrate: (agentId, request, signal) =>
        migrateCall({ roster, storage, source, metrics: known(metrics) }, policy, { agentId, request, signal }),
      connectedPeers: () =>
        node.connectedPeers().map(({ direction, ...peer }) => ({ ...peer, inbound: direction === "inbound" })),
      addresses: () => node.addresses(),
      price: { get: () => self.price, set: (price) => self.setPrice(price) },
    },
    { hostId, name, capabilities: [...offered], version, maxModuleBytes: options.maxModule },
  );
  const server = new GrpcServer({ services: [service], ...grpc.parts }, grpc.rules);
  logger.info({ hostId, name, registry: options.registry, grpc: formatAddress(options.grpcListen) }, "agent-host");

  return [
    part("data directory", { stop: () => storage.close() }),
    part("sandbox", { start: async () => sandbox.warm(), stop: () => sandbox.stop() }),
    part("libp2p", { start: () => node.start(), stop: () => node.stop() }),
    grpc.part(server),
    part("channels", {
      stop: async () => {
        registryChannel.close();
        pricingChannel?.close();
      },
    }),
    part("session", keeper),
    part("self", self),
    part("announcements", announcements),
    part("head reports", reports),
    part("replicas", replicas),
    part("replication", replicator),
    part("agents", roster),
    part("offers", offers),
    part("incoming migrations", {
      start: () => target.start(),
      stop: async () => {
        isStopping = true;
        await target.stop();
      },
    }),
    part("outgoing migrations", { stop: () => source.stop() }),
  ];
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

function streamFaults({ options, clock, logger }: Context): StreamFaults {
  const onStrike = (fault: string) => logger.warn({ fault }, "stream fault strikes");
  const faults = new StreamFaults({ clock, onStrike }, { allowed: options.allowCrashPoints });
  if (!options.allowCrashPoints) {
    if (options.streamFaults.length > 0) logger.warn("--stream-faults is ignored without --allow-crash-points");
    return faults;
  }
  for (const text of options.streamFaults) faults.arm(text);
  return faults;
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("not composed yet");
  return value;
}
