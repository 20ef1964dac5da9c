import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The built survivor of this repository. */
export const defaultAgentDirectory = join(
  fileURLToPath(new URL("../../../", import.meta.url)),
  "agents/survivor/build",
);
