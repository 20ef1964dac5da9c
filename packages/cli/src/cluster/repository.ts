// The repository that this command is part of: what it starts is built there.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Fault } from "@godwit/common/fault";

export interface Repository {
  readonly root: string;
  /** The built main.js of a service. */
  readonly entryOf: (service: string) => string;
  readonly survivor: string;
}

/** Faults: NOT_READY when something is not built. */
export function findRepository(): Repository {
  const here = dirname(fileURLToPath(import.meta.url));
  let root = here;
  while (!existsSync(join(root, "pnpm-workspace.yaml"))) {
    if (dirname(root) === root) {
      throw new Fault({ code: "NOT_READY", reason: "a cluster can only be started inside the Godwit repository" });
    }
    root = dirname(root);
  }
  const survivor = join(root, "agents", "survivor", "build", "survivor.wasm");
  const entryOf = (service: string) => join(root, "services", service, "dist", "main.js");
  for (const path of [survivor, ...["registry", "pricing", "agent-host"].map(entryOf)]) {
    if (existsSync(path)) continue;
    throw new Fault({ code: "NOT_READY", reason: `${path} is missing: npm start builds it, and so does pnpm build` });
  }
  return { root, entryOf, survivor };
}
