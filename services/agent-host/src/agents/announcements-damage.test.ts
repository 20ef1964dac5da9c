import { Fault } from "@godwit/common/fault";
import type { SignedBytes } from "@godwit/common/lease";
import { FakeClock } from "@godwit/testing";
import pino from "pino";
import { expect, test } from "vitest";
import { ada } from "../../test/support/agent-place.ts";
import { FakeSession } from "../../test/support/fake-session.ts";
import { MemoryRegistry } from "../../test/support/memory-registry.ts";
import type { Authority } from "../registry/ports.ts";
import { Announcements } from "./announcements.ts";

test("§8: a checkpoint that is damaged does not keep the others from being announced, and is announced no longer", async () => {
  const clock = new FakeClock();
  const registry = new MemoryRegistry();
  const session = new FakeSession({ clock, registry, hostId: ada.hostId });
  const whole: SignedBytes = { payload: Buffer.from("whole"), signature: new Uint8Array(64) };
  const heard: unknown[] = [];
  const announce: Authority["announce"] = async (_session, { held, withdrawn }) => void heard.push({ held, withdrawn });
  const announcements = new Announcements({
    authority: Object.assign(Object.create(registry) as Authority, { announce }),
    session: Object.assign(session, { registryKey: undefined }),
    clock,
    logger: pino({ level: "silent" }),
    held: async (agentId) => {
      if (agentId === "torn") throw new Fault({ code: "DATA_CORRUPT", path: "host.db", reason: "its checksum" });
      return whole;
    },
  });
  session.open("boot-1");
  announcements.changed("torn");
  announcements.changed("whole");
  await announcements.start();
  await clock.untilSleeping(1, new AbortController().signal);
  await clock.run(announcements.stop());
  expect(heard).toEqual([{ held: [whole], withdrawn: ["torn"] }]);
});
