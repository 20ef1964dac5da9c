import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

export type ServiceName = "registry" | "pricing" | "agent-host";

/** The built main.js of a service of this repository. Throws, with what to do, when it is not built. */
export function serviceEntry(service: ServiceName): string {
  // From src/cluster and from dist/cluster it is as far.
  const entry = fileURLToPath(new URL(`../../../../services/${service}/dist/main.js`, import.meta.url));
  if (!existsSync(entry)) throw new Error(`${entry} is not there: build the services first (pnpm build)`);
  return entry;
}
