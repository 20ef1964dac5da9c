// Which processes a cluster consists of, and how each is configured. Pure: ports and directories are given.

import { join } from "node:path";
import type { PortPlan, ServicePorts } from "./ports.ts";

export interface ServicePlan {
  /** "registry", "pricing", or the host's name. */
  readonly name: string;
  readonly service: "registry" | "pricing" | "agent-host";
  readonly grpcAddress: string;
  readonly opsUrl: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface ClusterPlan {
  readonly registry: ServicePlan;
  readonly pricing: ServicePlan;
  readonly hosts: readonly ServicePlan[];
}

export interface PlanRules {
  readonly ports: PortPlan;
  readonly dataDir: string;
  /** Undefined: the registry's embedded store. */
  readonly redisUrl: string | undefined;
  /** Whether processes may be told to die, and streams to break. */
  readonly allowFaults: boolean;
}

/** Where godwits live and rest. */
const NAMES = ["alaska", "hawaii", "fiji", "tasmania", "auckland", "sydney", "korea", "shanghai"];

interface Offer {
  /** Microcents a second. */
  readonly price: bigint;
  readonly capabilities: readonly string[];
}

/** Different prices and capabilities; each can run what declares no more than clock, rand, log and pricing. */
const OFFERS: readonly Offer[] = [
  { price: 1_000n, capabilities: ["clock", "rand", "log", "pricing"] },
  { price: 2_000n, capabilities: ["clock", "rand", "log", "wallet", "pricing"] },
  { price: 4_000n, capabilities: ["clock", "rand", "log", "pricing"] },
];

export function planCluster({ ports, dataDir, redisUrl, allowFaults }: PlanRules): ClusterPlan {
  const faults: Record<string, string> = allowFaults ? { GODWIT_ALLOW_CRASH_POINTS: "true" } : {};
  const plan = (name: string, service: ServicePlan["service"], at: ServicePorts, env: Record<string, string>) => ({
    name,
    service,
    grpcAddress: `127.0.0.1:${at.grpc}`,
    opsUrl: `http://127.0.0.1:${at.ops}`,
    env: {
      GODWIT_DATA: join(dataDir, service === "agent-host" ? join("hosts", name) : name),
      GODWIT_GRPC_LISTEN: `127.0.0.1:${at.grpc}`,
      GODWIT_OPS_LISTEN: `127.0.0.1:${at.ops}`,
      ...faults,
      ...env,
    },
  });

  const registry = plan("registry", "registry", ports.registry, redisUrl ? { GODWIT_REDIS_URL: redisUrl } : {});
  const pricing = plan("pricing", "pricing", ports.pricing, { GODWIT_REGISTRY: registry.grpcAddress });
  const hosts = ports.hosts.map((at, index) => {
    const { price, capabilities } = offerOf(index);
    const name = hostName(index);
    return plan(name, "agent-host", at, {
      GODWIT_NAME: name,
      GODWIT_REGISTRY: registry.grpcAddress,
      GODWIT_PRICING: pricing.grpcAddress,
      GODWIT_P2P_LISTEN: "/ip4/127.0.0.1/tcp/0",
      GODWIT_PRICE: String(price),
      GODWIT_CAPABILITIES: capabilities.join(","),
    });
  });
  return { registry, pricing, hosts };
}

function hostName(index: number): string {
  const name = NAMES[index % NAMES.length] ?? "host";
  const round = Math.floor(index / NAMES.length);
  return round === 0 ? name : `${name}-${round + 1}`;
}

/** Each round of the offers is dearer than the one before. */
function offerOf(index: number): Offer {
  const offer = OFFERS[index % OFFERS.length] as Offer;
  return { ...offer, price: offer.price + 300n * BigInt(Math.floor(index / OFFERS.length)) };
}
