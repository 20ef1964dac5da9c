// T-08, T-09, T-50, T-55: what a target says, or does not say, to a real host that hands an agent to it.

import { readHeader } from "@godwit/lineage";
import type { OfferFrame, TargetFrame } from "@godwit/migration";
import type { Cluster } from "@godwit/testing";
import { afterAll, beforeAll, describe, test } from "vitest";
import {
  budget,
  clusterWith,
  doneOf,
  failuresOf,
  headersOf,
  move,
  settlesOnOneOwner,
  startSurvivor,
  survivor,
  survivorWasm,
  ticksOn,
} from "../cluster/stage.ts";
import { Outlaw } from "./outlaw.ts";
import type { Peer } from "./peer.ts";
import { calmLease, credulous, sendTo } from "./scene.ts";
import { stillAgent } from "./still-agent.ts";

let cluster: Cluster;
let outlaw: Outlaw;
/** What each agent meets that comes to the outlaw. */
const scripts = new Map<string, (peer: Peer, offer: OfferFrame) => Promise<void>>();

beforeAll(async () => {
  cluster = await clusterWith(calmLease, { name: "a" }, { name: "b", env: credulous });
  outlaw = await Outlaw.open(cluster, "outlaw");
  await outlaw.answer(async (peer) => {
    const offer = await peer.until("offer");
    await scripts.get(offer.agentId)?.(peer, offer);
  });
});
afterAll(async () => {
  await outlaw?.[Symbol.asyncDispose]();
  await cluster?.stop();
});

/** The agent, ticking on `a`, and what comes of moving it to the outlaw. */
async function meets(name: string, script: (peer: Peer, offer: OfferFrame) => Promise<void>, retries = 3) {
  const a = cluster.host("a");
  const agentId = await startSurvivor(cluster, a, name);
  scripts.set(agentId, script);
  const target = { hostId: outlaw.hostId };
  const story = await move(a, agentId, { to: target as typeof a, retries, retryDelayMs: 1 });
  return { agentId, story, steps: story.flatMap((event) => (event.case === "step" ? [event.value.step] : [])) };
}

describe.concurrent("a target that says nothing", () => {
  test("T-08: to an offer: the agent ticks all the while, and the attempt ends", async ({ expect }) => {
    const { agentId, story, steps } = await meets("unheard", (peer) => peer.ended(), 1);
    expect(failuresOf(story)).toMatchObject([{ failureClass: "retriable", code: "DEADLINE_EXCEEDED" }]);
    expect(steps).not.toContain("frozen");
    const { owner, status, lineage } = await settlesOnOneOwner(cluster, agentId);
    expect([owner.name, status.major, lineage.orphans]).toEqual(["a", 0n, []]);
  });

  test("T-08: once it has everything: the wait ends, the registry is asked, and the agent ticks here again", async ({
    expect,
  }) => {
    const { agentId, story, steps } = await meets("unanswered", async (peer, offer) => {
      await peer.receive(offer);
      await peer.ended();
    });
    expect(steps).toEqual(expect.arrayContaining(["handed-off", "resolving", "recovered"]));
    expect(failuresOf(story).at(-1)).toMatchObject({ failureClass: "ambiguous" });
    const { owner, status } = await settlesOnOneOwner(cluster, agentId);
    expect([owner.name, status.major]).toEqual(["a", 1n]);
  });
});

describe.concurrent("a confirmation that is not one", () => {
  test.for<[string, (offer: OfferFrame, digest: string) => TargetFrame]>([
    ["another agent", (offer, digest) => started(offer, digest, { agentId: "e".repeat(64) })],
    ["another checkpoint", (offer) => started(offer, "e".repeat(64))],
    ["another handoff", (offer, digest) => started(offer, digest, { handoffId: "another" })],
    ["the major that it was", (offer, digest) => started(offer, digest, { major: offer.major })],
  ])("T-09: names %s: it is not believed, and the agent is not given up", async ([name, answer], { expect }) => {
    const { agentId, steps } = await meets(name.replaceAll(" ", "-"), async (peer, offer) => {
      const { digest } = await peer.receive(offer);
      await peer.answer(answer(offer, digest));
      await peer.ended();
    });
    expect(steps).toEqual(expect.arrayContaining(["resolving", "recovered"]));
    const { owner, status, lineage } = await settlesOnOneOwner(cluster, agentId);
    expect([owner.name, status.major, lineage.orphans]).toEqual(["a", 1n, []]);
  });
});

function started(offer: OfferFrame, checkpointDigest: string, changes: object = {}): TargetFrame {
  const { handoffId, agentId, era, major } = offer;
  return { kind: "started", handoffId, agentId, checkpointDigest, era, major: major + 1n, ...changes };
}

describe.concurrent("T-50: a refusal is what it was born as, whatever its words are", () => {
  const words = "WASM hash mismatch; connection reset by peer, broken pipe; please retry; unauthorized; ambiguous";
  test.for([
    ["fatal-target", 1, "fatal-target"],
    ["retriable", 3, "retriable"],
    // Whether the whole migration is over is not for a target to say.
    ["fatal-migration", 1, "fatal-target"],
  ] as const)(
    "T-50: %s, in words of every other kind: %i attempts",
    async ([failureClass, attempts, seen], { expect }) => {
      const { agentId, story } = await meets(
        failureClass,
        async (peer, { handoffId }) => {
          const fault = { code: "POLICY_REFUSED", hostId: outlaw.hostId, reason: words } as const;
          await peer.answer({ kind: "refused", handoffId, failure: { class: failureClass, fault } });
          await peer.ended();
        },
        3,
      );
      // On a machine that stands still for some seconds an attempt may end before it meets anybody.
      const refusals = failuresOf(story).filter((failure) => failure.code === "POLICY_REFUSED");
      expect(new Set(refusals.map((failure) => failure.failureClass))).toEqual(new Set([seen]));
      expect(refusals.length).toBeLessThanOrEqual(attempts);
      if (seen === "retriable") expect(failuresOf(story)).toHaveLength(attempts);
      else expect(failuresOf(story).at(-1)).toBe(refusals[0]);
      const { owner, status } = await settlesOnOneOwner(cluster, agentId);
      expect([owner.name, status.major]).toEqual(["a", 0n]);
    },
  );
});

describe.concurrent("T-55: what an agent may do travels with it", () => {
  test("T-55: the manifest that it was started with, and no file's, is the target's too", async ({ expect }) => {
    const [a, b] = [cluster.host("a"), cluster.host("b")];
    const { manifest } = await survivor();
    const own = { ...manifest, migration_policy: { enabled: true, max_price_per_second: 54_321 } };
    const { agentId } = await cluster.runAgent(a, survivorWasm, { name: "own-manifest", budget, manifest: own });
    await ticksOn(cluster, a, agentId, { after: 2n });
    expect(doneOf(await move(a, agentId, { to: b })).targetHostId).toBe(b.hostId);
    await settlesOnOneOwner(cluster, agentId);
    const digests = (await headersOf(b, agentId)).map(({ payload }) => readHeader(payload).manifestDigest);
    expect(new Set(digests).size).toBe(1);
    // It is obeyed there, too.
    await a.host.setPrice({ pricePerSecond: 54_322n });
    try {
      const back = await move(b, agentId, { to: a });
      expect(failuresOf(back).at(-1)).toMatchObject({ failureClass: "fatal-target", code: "PRICE_TOO_HIGH" });
    } finally {
      await a.host.setPrice({ pricePerSecond: 1_000n });
    }
  });

  test("T-55: a manifest other than the one in the lineage is refused", async ({ expect }) => {
    const b = cluster.host("b");
    const owned = await outlaw.create({ module: stillAgent({ salt: "t55" }) });
    const honest = await outlaw.begin(owned, b);
    const wider = { capabilities: { clock: { version: 1 } }, migration_policy: { enabled: true } };
    const manifest = new TextEncoder().encode(JSON.stringify(wider));
    const tampered = { ...honest, offer: { ...honest.offer, manifest } };
    expect(await sendTo(outlaw, b, tampered)).toBe("CHECKPOINT_INVALID");
    expect(await b.agent(owned.agentId)).toBeUndefined();
    expect(await sendTo(outlaw, b, honest)).toBe("STARTED");
  });
});
