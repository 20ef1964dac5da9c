// T-45: what a source says of the agent's last ticks is worth what it can prove. Under --replay-mode on-migrate and full nothing comes
// in that was not run again; nothing is written when it is refused.

import { digestOf, signerFromSeed } from "@godwit/lineage";
import type { ReplayRecord } from "@godwit/migration";
import { encodeEventLog } from "@godwit/sandbox";
import { describe, expect, test } from "vitest";
import { move, Neighbourhood, only } from "./migration-place.ts";
import { next } from "./storage-story.ts";
import { type AgentKnobs, Story, StoryAgent, storyHost } from "./migration-story.ts";

const nothing: ReplayRecord = { headers: [], state: new Uint8Array(0), eventLogs: [] };
const eventless = new Uint8Array(0);
/** One call of clock_now, answered with 0. */
const asked = Uint8Array.of(1, 0, 0);

async function setting(verifiesReplays: boolean) {
  const story = new Story(storyHost(1));
  const hood = new Neighbourhood(story);
  const [a, b] = [await hood.host(1), await hood.host(2)];
  b.knobs.verifiesReplays = verifiesReplays;
  const agent = StoryAgent.create(story, a.host);
  a.agent = agent;
  agent.doTick();
  agent.doTick();
  return { story, a, b, agent };
}

describe("T-45: an agent's last ticks are run again before it comes in", () => {
  test("those up to a signed checkpoint before PREPARED, and the final ones after the freeze: none is left out", async () => {
    const { a, b, agent } = await setting(true);
    const told = await move(a, only(b));
    expect(told.done).toBeDefined();
    // One tick more was made while it froze.
    expect(b.replayed).toEqual([1n, 2n, 3n, 4n]);
    expect(agent.latest.header.tick).toBe(4n);

    // Back again: the window begins at the checkpoint of the owner before.
    a.knobs.verifiesReplays = true;
    expect((await move(b, only(a))).done).toBeDefined();
    expect(a.replayed).toEqual([5n, 6n]);
  });

  const other = () => StoryAgent.create(new Story(storyHost(1), { nonce: 7 }), storyHost(1));
  const late = new TextEncoder().encode("what it was not");
  test.each<[string, AgentKnobs, string]>([
    ["nothing of it comes", { record: () => nothing }, "REPLAY_MISSING"],
    ["the state before is another one", { record: (honest) => ({ ...honest, state: late }) }, "REPLAY_MISSING"],
    [
      "an event log is not the one that was signed",
      {
        record: (honest) => ({
          ...honest,
          eventLogs: [encodeEventLog([1n, 2n, 3n].map((tick) => ({ tick, events: asked })))],
        }),
      },
      "REPLAY_MISSING",
    ],
    ["a log is missing", { record: (honest) => ({ ...honest, eventLogs: [] }) }, "REPLAY_MISSING"],
    [
      "its checkpoints do not follow each other",
      { record: ({ headers, ...honest }) => ({ ...honest, headers: [...headers].reverse() }) },
      "REPLAY_MISSING",
    ],
    [
      "it is all in order, and of another agent",
      {
        record: () => {
          const { latest } = other();
          return { headers: [latest.signed], state: latest.state, eventLogs: [] };
        },
      },
      "REPLAY_MISSING",
    ],
    [
      "a header is not signed by its owner",
      {
        record: ({ headers: [first, second], ...honest }) => {
          if (first === undefined || second === undefined) throw new Error("there are two");
          const signature = signerFromSeed(new Uint8Array(32).fill(9)).sign(second.payload);
          return { ...honest, headers: [first, { ...second, signature }] };
        },
      },
      "SIGNATURE_INVALID",
    ],
    ["the final ticks do not come", { tail: () => nothing }, "REPLAY_MISSING"],
    [
      "the final ticks are others",
      { tail: (honest) => ({ ...honest, eventLogs: [encodeEventLog([{ tick: 9n, events: eventless }])] }) },
      "REPLAY_MISSING",
    ],
  ])("%s: refused, nothing is staged, and it ticks on where it was", async (_, knobs, code) => {
    const { a, b, agent } = await setting(true);
    Object.assign(agent.knobs, knobs);
    const told = await move(a, only(b));
    expect(told.failures.map((failure) => [failure.class, failure.fault.code])).toEqual([["fatal-target", code]]);
    expect([b.staged, b.left, b.replicas, b.agent]).toEqual([undefined, [], [], undefined]);
    expect(agent.status).not.toBe("retired");
  });

  test("from a checkpoint that its owner has signed, and that the next one does not name: refused", async () => {
    const { story, a, b, agent } = await setting(true);
    await agent.replayRecord();
    agent.doTick();
    const log = encodeEventLog([1n, 2n, 3n].map((tick) => ({ tick, events: asked })));
    const forked = next(story.created, {
      host: a.host,
      ticks: 3n,
      text: "another life",
      header: { eventsDigest: digestOf(log) },
    });
    agent.knobs.record = ({ headers: [, newest], ...honest }) => {
      if (newest === undefined) throw new Error("there are two");
      return { ...honest, headers: [forked.signed, newest], state: forked.state };
    };
    const told = await move(a, only(b));
    expect(told.failures.map(({ fault }) => fault.code)).toEqual(["REPLAY_MISSING"]);
    expect(b.replayed).toEqual([]);
  });

  test("also when what may begin ahead of the token could not begin: the final ticks are asked about all the same", async () => {
    const { a, b, agent } = await setting(true);
    b.knobs.expectFails = true;
    agent.knobs.tail = () => nothing;
    const told = await move(a, only(b));
    expect(told.failures.map(({ fault }) => fault.code)).toEqual(["REPLAY_MISSING"]);
    expect([b.staged, b.agent]).toEqual([undefined, undefined]);
  });

  test("and what a state came out as counts, not what was said of it", async () => {
    const { story, a, b, agent } = await setting(true);
    agent.knobs.record = (honest) => {
      story.stateAt = () => late; // what b works out from now on
      return honest;
    };
    const told = await move(a, only(b));
    expect(told.failures.map(({ fault }) => fault)).toMatchObject([{ code: "REPLAY_DIVERGED", tick: 3n }]);
    expect(digestOf(late)).not.toBe(agent.latest.header.stateDigest);
  });

  test("where replays are off, it comes in without", async () => {
    const { a, b, agent } = await setting(false);
    Object.assign(agent.knobs, { record: () => nothing, tail: () => nothing });
    expect((await move(a, only(b))).done).toBeDefined();
    expect(b.replayed).toEqual([]);
  });
});
