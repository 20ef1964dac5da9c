// Runs the built module on a host of the test's own: its clock begins in 2024 and goes on by a second each time it is read. Each tick is also
// replayed from the state before it, so that what an agent forgets to save is found here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentTrapped, TestAgent } from "@godwit/agent-sdk/testing";

const module = new URL("../build/{{name}}.wasm", import.meta.url);

test("it counts its ticks and knows its age", async () => {
  const agent = await TestAgent.load(module);
  assert.deepEqual(agent.tick().logs, ["tick 1, 0.0 s old"]);
  assert.deepEqual(agent.tick().logs, ["tick 2, 1.0 s old"]);
});

test("it goes on where it was, after a crash or a move", async () => {
  const agent = await TestAgent.load(module);
  agent.ticks(3);
  agent.resume();
  agent.host.advanceClock(60_000_000_000n);
  assert.deepEqual(agent.tick().logs, ["tick 4, 63.0 s old"]);
});

test("it refuses a state that is not its own", async () => {
  const state = new TextEncoder().encode("something else");
  await assert.rejects(TestAgent.load(module, { state }), AgentTrapped);
});
