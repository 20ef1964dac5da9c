import type { SignedBytes } from "@godwit/common/lease";
import { FakeClock } from "@godwit/testing";
import pino from "pino";
import { expect, test } from "vitest";
import { ada } from "../../test/support/agent-place.ts";
import { FakeSession } from "../../test/support/fake-session.ts";
import { MemoryRegistry } from "../../test/support/memory-registry.ts";
import type { Authority } from "../registry/ports.ts";
import { Announcements } from "./announcements.ts";

const header = (text: string): SignedBytes => ({ payload: Buffer.from(text), signature: new Uint8Array(64) });

/** A host that holds what it is told, and a registry that answers when it is told. */
function scene() {
  const clock = new FakeClock();
  const registry = new MemoryRegistry();
  const session = Object.assign(new FakeSession({ clock, registry, hostId: ada.hostId }), { registryKey: undefined });
  const heard: string[] = [];
  let answer: () => Promise<void> = async () => {};
  const announce: Authority["announce"] = async (_session, { held, withdrawn }) => {
    await answer();
    heard.push(...held.map(({ payload }) => String(payload)), ...withdrawn.map((agentId) => `no ${agentId}`));
  };
  const authority: Authority = Object.assign(Object.create(registry) as Authority, { announce });
  const announcements = new Announcements({
    authority,
    session,
    clock,
    logger: pino({ level: "silent" }),
    held: async (agentId) => (agentId === "gone" ? undefined : header(agentId)),
  });
  return {
    session,
    heard,
    announcements,
    answerWith: (next: () => Promise<void>) => {
      answer = next;
    },
  };
}

test("§3: what changed is announced when somebody has to know that the registry has heard of it", async () => {
  const { session, heard, announcements } = scene();
  session.open("boot-1");
  announcements.changed("first");
  announcements.changed("gone");
  expect(await announcements.caughtUp()).toBe(true);
  expect(heard).toEqual(["first", "no gone"]);
});

test("§3: nothing counts as announced without a session, or without an answer; it is said again later", async () => {
  const { session, heard, announcements, answerWith } = scene();
  announcements.changed("first");
  expect(await announcements.caughtUp()).toBe(false);
  session.open("boot-1");
  answerWith(() => Promise.reject(new Error("no answer")));
  expect(await announcements.caughtUp()).toBe(false);
  answerWith(async () => {});
  expect(await announcements.caughtUp()).toBe(true);
  expect(heard).toEqual(["first"]);
});

test("§3: an announcement that is under way is waited for", async () => {
  const { session, heard, announcements, answerWith } = scene();
  session.open("boot-1");
  const answered = Promise.withResolvers<void>();
  answerWith(() => answered.promise);
  announcements.changed("first");
  const [one, other] = [announcements.caughtUp(), announcements.caughtUp()];
  let isOver = false;
  void other.then(() => {
    isOver = true;
  });
  await Promise.resolve();
  expect(isOver).toBe(false);
  answered.resolve();
  expect(await Promise.all([one, other])).toEqual([true, true]);
  expect(heard).toEqual(["first"]);
});
