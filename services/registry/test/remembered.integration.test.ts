// A replica decides on what it remembers; what another replica did meanwhile must not be missed (§4).

import { randomUUID } from "node:crypto";
import type { AuthorityRecord } from "@godwit/proto/godwit/registry/v1/authority";
import { expect, test } from "vitest";
import { done, expectRefused, type Held, TestHost } from "./fixtures/host.ts";
import { TestRegistry } from "./fixtures/registry.ts";
import { type Ground, layGround } from "./fixtures/stores.ts";

/** Two replicas on one Redis, and an agent that the first of them remembers. */
class World implements AsyncDisposable {
  readonly first: TestRegistry;
  readonly second: TestRegistry;
  readonly host: TestHost;
  readonly held: Held;
  readonly #ground: Ground;

  static async start(): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const ground = stack.use(await layGround("redis"));
    const first = stack.use(await TestRegistry.start(ground));
    const second = stack.use(await TestRegistry.start(ground));
    const host = await TestHost.open(first);
    const held = await host.acquire(first);
    const world = new World({ ground, first, second, host, held });
    held.record = done(await world.revert(first));
    stack.move();
    return world;
  }

  private constructor(of: Pick<World, "first" | "second" | "host" | "held"> & { readonly ground: Ground }) {
    this.first = of.first;
    this.second = of.second;
    this.host = of.host;
    this.held = of.held;
    this.#ground = of.ground;
  }

  async revert(by: TestRegistry, { revision } = this.held.record, commandId: string = randomUUID()) {
    const command = this.host.command(this.held.agentId, revision, commandId);
    return await by.authority.revertHandoff({ command });
  }

  async stored(): Promise<AuthorityRecord | undefined> {
    return (await this.second.authority.getAgent({ agentId: this.held.agentId })).record;
  }

  async closeThroughSecond(): Promise<void> {
    await this.second.sessions.closeSession({ ...this.host.named });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.first.stop();
    await this.second.stop();
    await this.#ground[Symbol.asyncDispose]();
  }
}

test("§4: a command on a remembered record costs one step of the store", async () => {
  await using world = await World.start();
  const { store } = world.first.graph;
  let reads = 0;
  const readAgents = store.readAgents.bind(store);
  store.readAgents = async (...asked) => {
    reads++;
    return await readAgents(...asked);
  };
  const { revision } = done(await world.revert(world.first));
  expect(reads).toBe(0);
  expect((await world.stored())?.revision).toBe(revision);
});

test("§4: a record that another replica changed is not changed on what is remembered", async () => {
  await using world = await World.start();
  const { first, second } = world;
  const before = world.held.record;
  const changed = done(await world.revert(second));
  const late = await world.revert(first, before); // as the first one remembers it, this would do
  expectRefused(late, "STALE_REVISION");
  expect(late.record?.revision).toBe(changed.revision);
  expect(await world.stored()).toEqual(changed);
});

test("§4: nobody is refused on what is remembered", async () => {
  await using world = await World.start();
  const { first, second } = world;
  const changed = done(await world.revert(second));
  const next = done(await world.revert(first, changed)); // a revision that the first one has not seen
  expect(next.revision).toBe(changed.revision + 1n);
});

test("SL-2: a session that was closed through another replica changes nothing, and repeats nothing", async () => {
  await using world = await World.start();
  const { first } = world;
  const commandId = randomUUID();
  const { record: before } = world.held;
  const changed = done(await world.revert(first, before, commandId));
  await world.closeThroughSecond();
  expectRefused(await world.revert(first, changed), "SESSION_VOID");
  expectRefused(await world.revert(first, before, commandId), "SESSION_VOID");
  expect(await world.stored()).toEqual(changed);
});

test("a wrong secret is refused although session and record are remembered", async () => {
  await using world = await World.start();
  world.host.secret = new Uint8Array(32);
  expectRefused(await world.revert(world.first), "BAD_SECRET");
  expect(await world.stored()).toEqual(world.held.record);
});

test("GA-6: what was remembered under a mark is nothing under the next one", async () => {
  await using world = await World.start();
  const { first } = world;
  const witness = await TestHost.open(first);
  witness.generation = 1_000n;
  await expect(witness.renew(first)).rejects.toMatchObject({ code: "STALE_INCARNATION" });
  expectRefused(await world.revert(first), "QUARANTINE");
});
