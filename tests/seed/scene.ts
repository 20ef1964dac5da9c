// What the tests of the seed's holes share.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Cluster, type HostNode, waitFor } from "@godwit/testing";
import { budget, type Lease } from "../cluster/stage.ts";
import type { Outlaw } from "./outlaw.ts";
import type { Handoff } from "./peer.ts";

/** For what is not about leases: nobody loses one, however busy the machine is. */
export const calmLease: Lease = { duration: 40_000, grace: 2_000 };

/** For hosts that get no copy of what others run: whatever they know of an agent, a test has told them. */
export const alone = { GODWIT_REPLICAS: "0" };

/** For hosts that get agents from an outlaw, who makes checkpoints without an agent: nothing could be run again. */
export const credulous = { GODWIT_REPLAY_MODE: "off" };

/** Plays the handoff to that host: STARTED, or the code of its refusal. What passes by itself is waited for. */
export async function sendTo(outlaw: Outlaw, host: HostNode, handoff: Handoff): Promise<string> {
  return await waitFor(
    async () => {
      const peer = await outlaw.dial(host);
      try {
        const verdict = await peer.play(handoff);
        return verdict === "MIGRATION_IN_PROGRESS" || verdict === "TARGET_BUSY" ? undefined : verdict;
      } finally {
        peer.abort();
      }
    },
    { what: `an answer of ${host.name}`, everyMs: 100 },
  );
}

/** Runs this module there, as an agent that may move. */
export async function runModule(
  cluster: Cluster,
  host: HostNode,
  module: Uint8Array,
  name: string,
  capabilities: object = {},
): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "godwit-seed-"));
  try {
    const path = join(dir, "agent.wasm");
    await writeFile(path, module);
    const manifest = { capabilities, migration_policy: { enabled: true } };
    return (await cluster.runAgent(host, path, { name, budget, manifest })).agentId;
  } finally {
    await rm(dir, { recursive: true });
  }
}
