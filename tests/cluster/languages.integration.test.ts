// Agents of four compilers live on real hosts: they run, are checkpointed, and move to another host and back, all at once.

import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { clusterOf, doneOf, logOf, move, optionsOf, settlesOnOneOwner, ticksOn, wasmOf } from "./stage.ts";

const written = ["survivor", "survivor-c", "survivor-rust", "survivor-go"];
// The others are always there: npm test builds them. Go is left out, and said to be, where it has no compiler.
const agents = written.filter((name) => name !== "survivor-go" || existsSync(wasmOf(name)));

test(`agents of several compilers (${agents.join(", ")}) run, checkpoint, and move to another host and back without losing a tick`, async () => {
  await using cluster = await clusterOf({ name: "a", price: 1_000n }, { name: "b", price: 2_000n });
  const [a, b] = [cluster.host("a"), cluster.host("b")];

  await Promise.all(
    agents.map(async (name) => {
      const { agentId } = await cluster.runAgent(a, wasmOf(name), await optionsOf(name));
      const before = await ticksOn(cluster, a, agentId, { after: 2n });
      expect(before.stateBytes, name).toBe(328n);

      const there = doneOf(await move(a, agentId, { to: b }));
      await ticksOn(cluster, b, agentId, { after: there.tick + 3n });
      const back = doneOf(await move(b, agentId, { to: a }));
      const { owner, lineage } = await settlesOnOneOwner(cluster, agentId);
      expect(owner, name).toBe(a);

      expect({ gaps: lineage.gaps, orphans: lineage.orphans }, name).toEqual({ gaps: 0, orphans: [] });
      expect(lineage.owners.map(({ hostId, origin }) => ({ hostId, origin }))).toEqual([
        { hostId: a.hostId, origin: "created" },
        { hostId: b.hostId, origin: "migrated" },
        { hostId: a.hostId, origin: "migrated" },
      ]);
      // The agent's own word: it has counted every tick that its hosts have, and none twice.
      const lines = [...(await logOf(b, agentId)), ...(await logOf(a, agentId))].filter(
        ({ origin }) => origin === "agent",
      );
      const arrivals = lines.filter(({ line }) => line.startsWith("moved before tick"));
      expect(
        arrivals.map(({ tick, line }) => ({ tick, line })),
        name,
      ).toEqual([
        { tick: there.tick + 1n, line: `moved before tick ${there.tick + 1n}: price 1000 -> 2000 (move 1)` },
        { tick: back.tick + 1n, line: `moved before tick ${back.tick + 1n}: price 2000 -> 1000 (move 2)` },
      ]);
      for (const { tick, line } of lines.filter((said) => /^tick \d/.test(said.line))) {
        expect(line, name).toContain(`tick ${tick}: `);
      }
    }),
  );
});
