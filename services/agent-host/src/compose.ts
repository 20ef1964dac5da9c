// Builds an agent-host for a process: data directory, libp2p node, channels, worker threads, gRPC, and the graph on top.

import { systemEntropy } from "@godwit/common/clock";
import { formatAddress } from "@godwit/common/config";
import { GrpcChannel, GrpcServer } from "@godwit/grpc";
import { defaultSandboxRules, Sandbox } from "@godwit/sandbox";
import { advertisedAddress, type Part, part, type ServiceContext } from "@godwit/service";
import { assemble, type HostCrashPoint } from "./assemble.ts";
import type { hostOptions } from "./config.ts";
import { P2pNode, StreamFaults } from "./p2p/index.ts";
import { DataDirectory } from "./storage/index.ts";

type Context = ServiceContext<typeof hostOptions, HostCrashPoint>;

const maxConnections = 1_000;

export async function compose(context: Context): Promise<readonly Part[]> {
  const { options, clock, random, logger, metrics, readiness, crashPoints, grpc, tls } = context;
  const storage = await DataDirectory.open(options.data, {
    clock,
    rules: { keepHeaders: options.history, keepStates: 3 },
  });
  const node = await P2pNode.create({
    seed: storage.hostSeed,
    listen: options.p2pListen,
    announce: options.p2pAnnounce,
    maxConnections,
  });
  const channelTo = (target: string) =>
    new GrpcChannel({ target, timeoutMs: options.registryTimeoutMs, tls: tls?.client });
  const registry = channelTo(options.registry);
  const pricing = options.pricing === undefined ? undefined : channelTo(options.pricing);
  const sandbox = new Sandbox(
    { clock, onWorkerLost: () => graph.metrics.workersLost.inc() },
    {
      ...defaultSandboxRules,
      workers: options.workers,
      tickTimeoutMs: options.tickTimeoutMs,
      maxMemoryBytes: options.maxMemory,
      maxModuleBytes: options.maxModule,
    },
  );

  const graph = assemble(options, {
    storage,
    node,
    registry,
    pricing,
    sandbox,
    faults: streamFaults(context),
    crashPoints,
    clock,
    random,
    entropy: systemEntropy,
    logger,
    metrics,
    grpcAddress: () => advertisedAddress(options.grpcAdvertise, { ...options.grpcListen, port: server.port }),
  });
  const { hostId, name, keeper, service } = graph;
  readiness.add("registry session", () => keeper.trouble);
  readiness.add("data directory", () => storage.broken?.message);
  const server = new GrpcServer({ services: [service], ...grpc.parts }, grpc.rules);
  logger.info({ hostId, name, registry: options.registry, grpc: formatAddress(options.grpcListen) }, "agent-host");

  return [
    part("data directory", { stop: () => storage.close() }),
    part("sandbox", { start: async () => sandbox.warm(), stop: () => sandbox.stop() }),
    part("libp2p", { start: () => node.start(), stop: () => node.stop() }),
    grpc.part(server),
    part("channels", {
      stop: async () => {
        registry.close();
        pricing?.close();
      },
    }),
    ...graph.parts,
  ];
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
