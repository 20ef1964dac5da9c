import { Fault } from "@godwit/common/fault";
import { FakeClock } from "@godwit/testing";
import pino from "pino";
import { expect, test } from "vitest";
import { BlobCollection } from "./blob-collection.ts";

test("T-25: what nobody needs is collected at the start and now and then, also after a collection that failed, until the stop", async () => {
  const clock = new FakeClock();
  const logged: string[] = [];
  const logger = pino({}, { write: (line: string) => void logged.push(JSON.parse(line).msg) });
  const answers = [2, new Fault({ code: "DISK_FAILED", path: "host.db", reason: "no space" }), 0, 1];
  let collections = 0;
  const storage = {
    collectBlobs: async () => {
      const answer = answers[collections++] ?? 0;
      if (typeof answer === "number") return answer;
      throw answer;
    },
  };
  const collection = new BlobCollection({ storage, clock, logger }, { everyMs: 1_000 });
  const never = new AbortController().signal;
  await collection.start();
  for (let expected = 1; expected <= 4; expected++) {
    await clock.untilSleeping(1, never);
    expect(collections).toBe(expected);
    await clock.advance(1_000);
  }
  await clock.untilSleeping(1, never);
  expect(logged.map((line) => line.split(" ")[0])).toEqual(["modules", "what", "modules"]);
  await collection.stop();
  await clock.advance(60_000);
  expect(collections).toBe(5);
});
