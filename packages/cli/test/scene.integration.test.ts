// What `npm start` does with a cluster, on hosts that do what a test tells them to: when it is content, and when it is not.

import { systemClock } from "@godwit/common/clock";
import type { MigrateAgentRequest } from "@godwit/proto/godwit/host/v1/host";
import { AuthorityState } from "@godwit/proto/godwit/registry/v1/authority";
import { describe, expect, test } from "vitest";
import { showLive } from "../src/cluster/live.ts";
import { playOnce } from "../src/cluster/once.ts";
import { planCluster } from "../src/cluster/plan.ts";
import { Story } from "../src/cluster/story.ts";
import { Session } from "../src/session.ts";
import { FakeCluster } from "./fake-cluster.ts";
import { hostId as ALASKA, lineageStory, registryKey } from "./lineage-story.ts";

const { agentId, first, second } = lineageStory();
const HAWAII = "host-hawaii";
const FIJI = "host-fiji";
const NAMES = { [ALASKA]: "alaska", [HAWAII]: "hawaii", [FIJI]: "fiji" } as const;

interface Twist {
  /** The second move goes as planned: nothing gets lost. */
  readonly losesNothing?: boolean;
  /** The agent never ticks after the first move. */
  readonly standsStill?: boolean;
  /** The source moves it on without a recovery of its own. */
  readonly recoversNothing?: boolean;
  /** The host keeps the newest header back. */
  readonly hidesHead?: boolean;
  /** The first move is given up. */
  readonly givesUp?: boolean;
}

/** One agent that ticks whenever somebody looks, on hosts that hand it over. */
async function start(twist: Twist = {}) {
  let owner: string = ALASKA;
  let major = 0n;
  let tick = 0n;
  let moves = 0;
  const record = () => ({
    agentId,
    name: "survivor",
    state: AuthorityState.ACTIVE_OWNER,
    major,
    owner: { hostId: owner, bootId: "boot" },
    ...(twist.hidesHead ? { head: { ...second.header, digest: new Uint8Array(32) } } : {}),
  });
  const done = () => {
    return { event: { case: "done", value: { targetHostId: owner, major, tick, blackoutMs: 4, totalMs: 9 } } } as const;
  };
  async function* migrateAgent({ targetHostId }: MigrateAgentRequest) {
    moves++;
    if (twist.givesUp) {
      yield {
        event: { case: "givenUp", value: { code: "NO_CANDIDATE", message: "nobody", state: "ACTIVE_OWNER" } },
      } as const;
      return;
    }
    if (moves === 1 || twist.losesNothing) {
      owner = targetHostId || HAWAII;
      major++;
      yield done();
      return;
    }
    const failed = { targetHostId, failureClass: "ambiguous", code: "RPC_FAILED", message: "no answer" };
    yield { event: { case: "attemptFailed", value: failed } } as const;
    if (!twist.recoversNothing) yield { event: { case: "step", value: { step: "recovered" } } } as const;
    owner = ALASKA;
    major += 2n;
    yield done();
  }
  const cluster = await FakeCluster.start({
    hosts: Object.entries(NAMES).map(([hostId, name]) => ({
      hostId,
      name,
      handlers: {
        listAgents: () => {
          if (owner !== hostId) return { agents: [] };
          if (!(twist.standsStill && moves > 0)) tick++;
          return { agents: [{ agentId, name: "survivor", state: "ACTIVE_OWNER", major, tick, hostId }] };
        },
        migrateAgent,
        async *getLineage() {
          for (const { signed } of twist.hidesHead ? [first] : [second, first]) yield { header: signed };
        },
      },
    })),
    authority: {
      listAgents: () => ({ records: [record()] }),
      getAgent: () => ({ record: record(), holders: [] }),
    },
    sessions: { describeRegistry: () => ({ publicKey: registryKey.publicKey }) },
  });
  return cluster;
}

function stage(cluster: FakeCluster, signal: AbortSignal) {
  const printed: string[] = [];
  const terminal = {
    out: (text: string) => void printed.push(text),
    err: () => {},
    isTerminal: false,
    columns: () => 80,
    rows: () => 24,
  };
  const port = { grpc: 1, ops: 2 };
  const ports = { registry: port, pricing: port, hosts: [port, port, port] };
  const plan = planCluster({ ports, dataDir: "/nowhere", redisUrl: undefined, losesFirstHandoff: true });
  const session = new Session({ registry: cluster.registry, pricing: cluster.pricing, timeoutMs: 40_000, signal });
  const scene = {
    cluster: { plan, pidOf: () => 42 },
    session,
    story: new Story({ clock: systemClock, terminal, live: false }),
    survivor: "/nowhere/survivor.wasm",
    dataDir: "/nowhere",
    redisUrl: undefined,
  };
  return { scene, terminal, printed };
}

async function play(twist: Twist, signal = new AbortController().signal): Promise<string> {
  await using cluster = await start(twist);
  const { scene, printed } = stage(cluster, signal);
  using _session = scene.session;
  await playOnce(scene);
  return printed.join("");
}

describe("--once", () => {
  test("a planned move, a move that is lost and settled, and a lineage that holds: it is content", async () => {
    const printed = await play({});
    expect(printed).toMatch(/survivor ticks on alaska: tick [3-9]/);
    expect(printed).toMatch(/runs on hawaii from tick \d+, major 1: blackout 4.00 ms/);
    expect(printed).toContain("move 2, to fiji, which will lose it");
    expect(printed).toContain("fiji failed (ambiguous): RPC_FAILED: no answer");
    expect(printed).toMatch(/runs on alaska from tick \d+, major 3/);
    expect(printed).toContain("the lineage holds");
  });

  test.each([
    ["a move that is given up", { givesUp: true }, /MIGRATION_FAILED|could not be migrated.*given up: NO_CANDIDATE/],
    ["a second move that loses nothing", { losesNothing: true }, /the answer was not lost/],
    ["no recovery by the source", { recoversNothing: true }, /the source did not recover/],
    ["a lineage that does not hold", { hidesHead: true }, /the lineage does not hold/],
  ] as const)("%s: it is not content", async (_, twist, problem) => {
    await expect(play(twist)).rejects.toThrow(problem);
  });

  test("an agent that does not tick after its move: it waits, until its time is over", async () => {
    const over = AbortSignal.timeout(1_500);
    await expect(play({ standsStill: true }, over)).rejects.toThrow("timeout");
  });
});

describe("the live view", () => {
  test("moves the agent once, says for how long it stood still and what to try; an interruption ends it", async () => {
    const interruption = new AbortController();
    await using cluster = await start();
    const { scene, terminal, printed } = stage(cluster, interruption.signal);
    using _session = scene.session;
    const showing = showLive({ ...scene, isDefault: true }, terminal);
    while (!printed.join("").includes("Ctrl-C stops everything."))
      await systemClock.sleep(20, AbortSignal.timeout(50_000));
    interruption.abort(new Error("interrupted"));
    await showing;
    expect(printed.join("")).toMatch(/runs on hawaii since tick \d+: it stood still for 4.00 ms/);
    expect(printed.join("")).toContain("npx godwit migrate survivor");
  });

  test("on a terminal it draws who runs where, again and again", async () => {
    const interruption = new AbortController();
    await using cluster = await start();
    const { scene, terminal, printed } = stage(cluster, interruption.signal);
    using _session = scene.session;
    const story = new Story({ clock: systemClock, terminal, live: true });
    const showing = showLive({ ...scene, story, isDefault: false }, { ...terminal, isTerminal: true });
    const drawings = () => printed.filter((text) => /HOST +PRICE/.test(text));
    while (drawings().length < 3 || !/hawaii .*survivor/.test(printed.at(-1) ?? ""))
      await systemClock.sleep(20, AbortSignal.timeout(50_000));
    interruption.abort(new Error("interrupted"));
    await showing;
    expect(drawings().length).toBeGreaterThan(2);
    expect(drawings()[0]).toMatch(/alaska +0.001\/s +\w{8} +survivor +ACTIVE_OWNER/);
    expect(drawings()[0]).toContain("kill -9 42     no alaska");
    expect(drawings().at(-1)).toContain("it stood still for 4.00 ms");
  });

  test("a move that fails does not take the cluster away", async () => {
    const interruption = new AbortController();
    await using cluster = await start({ givesUp: true });
    const { scene, terminal, printed } = stage(cluster, interruption.signal);
    using _session = scene.session;
    const showing = showLive({ ...scene, isDefault: true }, terminal);
    while (!printed.join("").includes("the show ends early")) await systemClock.sleep(20, AbortSignal.timeout(50_000));
    interruption.abort(new Error("interrupted"));
    await showing;
  });
});
