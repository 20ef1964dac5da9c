// Where an agent could go: the registry's candidates, with the prices that the hosts name now (GH-7).

import { Fault } from "@godwit/common/fault";
import type { Price } from "@godwit/migration";
import type { Logger } from "pino";
import type { MigrationDirectory } from "./migration/ports.ts";
import type { PricingClient } from "./pricing-client.ts";
import type { HostDirectory } from "./registry/directory.ts";

const scanTimeoutMs = 2_000;

export function migrationDirectory(
  directory: HostDirectory,
  pricing: PricingClient | undefined,
  logger: Logger,
): MigrationDirectory {
  return {
    candidates: async (query, signal) => {
      const hosts = await directory.candidates(query, signal);
      return hosts.map(({ hostId, pricePerSecond }) => ({ hostId, pricePerSecond }));
    },
    scanPrices: async (hostIds, signal): Promise<readonly Price[]> => {
      if (pricing === undefined) return [];
      const hosts = await Promise.all(hostIds.map((hostId) => directory.get(hostId, signal)));
      const targets = hosts.filter((host) => host !== undefined);
      try {
        return await pricing.scan(targets, { timeoutMs: scanTimeoutMs, signal });
      } catch (err) {
        signal.throwIfAborted();
        logger.info({ err }, "prices not scanned: the registry's are used");
        return [];
      }
    },
    addressesOf: async (hostId, signal) => {
      const host = await directory.get(hostId, signal);
      if (host === undefined) throw new Fault({ code: "HOST_UNKNOWN", hostId });
      return host.addresses;
    },
    reportOutcome: (hostId, outcome) => directory.reportOutcome(hostId, outcome),
  };
}
