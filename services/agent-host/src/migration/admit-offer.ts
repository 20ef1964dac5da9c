// Whether an offer fits what this host is (GH-2), before the source has sent anything large. Pure.

import { isFault } from "@godwit/common/fault";
import { ClassifiedFault, type FailureClass } from "@godwit/common/retry";
import type { OfferFrame } from "@godwit/migration";
import { type Manifest, parseManifest } from "@godwit/sandbox";
import type { HostFacts } from "./ports.ts";

/** The manifest, read. Throws ClassifiedFault with the class that the source has to act on. */
export function admitOffer(offer: OfferFrame, facts: HostFacts): Manifest {
  const { hostId, notNow, registryKey } = facts;
  if (notNow === "stopping") throw new ClassifiedFault("retriable", { code: "SHUTTING_DOWN" });
  if (notNow === "no-session" || registryKey === undefined) {
    const reason = "the target has no live session with the registry";
    throw new ClassifiedFault("retriable", { code: "SESSION_NOT_OPEN", reason });
  }
  if (notNow === "draining") throw refused({ code: "HOST_DRAINING", hostId });

  const manifest = readManifest(offer.manifest);
  if (!manifest.migrationPolicy.enabled) {
    throw new ClassifiedFault("fatal-migration", { code: "MIGRATION_DISABLED", agentId: offer.agentId });
  }
  checkPrice(manifest, facts);

  const missing = [...manifest.capabilities.keys()].filter((name) => !facts.capabilities.includes(name)).toSorted();
  if (missing.length > 0) throw refused({ code: "CAPABILITY_MISSING", missing });

  const needed = manifest.resourceLimits.maxMemoryBytes ?? 0;
  if (needed > facts.maxMemoryBytes) {
    throw refused({ code: "MEMORY_TOO_LARGE", needed, limit: facts.maxMemoryBytes });
  }
  if (offer.moduleBytes > facts.maxModuleBytes) {
    throw refused({ code: "RESOURCE_LIMIT", what: "the module", limit: facts.maxModuleBytes });
  }
  if (offer.stateBytes > facts.maxStateBytes) {
    throw refused({ code: "RESOURCE_LIMIT", what: "the state", limit: facts.maxStateBytes });
  }
  return manifest;
}

/** Asked again before the claim: what the agent will be charged is the price of then (T-24). */
export function checkPrice({ migrationPolicy }: Manifest, { pricePerSecond: price }: HostFacts): void {
  const limit = migrationPolicy.maxPricePerSecond;
  if (limit !== undefined && price > limit) throw refused({ code: "PRICE_TOO_HIGH", price, limit });
}

function readManifest(bytes: Uint8Array): Manifest {
  try {
    return parseManifest(bytes);
  } catch (cause) {
    if (isFault(cause)) throw new ClassifiedFault("fatal-target", cause.detail, { cause });
    throw cause;
  }
}

function refused(detail: ClassifiedFault["detail"], failureClass: FailureClass = "fatal-target"): ClassifiedFault {
  return new ClassifiedFault(failureClass, detail);
}
