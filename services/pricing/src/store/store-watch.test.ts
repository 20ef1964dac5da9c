import { Fault } from "@godwit/common/fault";
import { FakeClock } from "@godwit/testing";
import { expect, test } from "vitest";
import { StoreWatch } from "./store-watch.ts";

test("trouble is seen, told once, and forgotten when the store can be written again", async () => {
  const clock = new FakeClock();
  const told: unknown[] = [];
  let fault: Fault | undefined;
  const store = {
    probe() {
      if (fault !== undefined) throw fault;
    },
  };
  const watch = new StoreWatch({ store, clock, onChange: (trouble) => told.push(trouble) }, { everyMs: 1_000 });
  watch.start();
  expect(watch.reason()).toBeUndefined();

  fault = new Fault({ code: "DISK_FAILED", path: "/data/prices.db", reason: "disk full" });
  await clock.advance(3_000);
  expect(watch.reason()).toContain("disk full");
  fault = undefined;
  await clock.advance(1_000);
  expect(watch.reason()).toBeUndefined();
  expect(told).toEqual([expect.any(Fault), undefined]);

  await watch.stop();
  expect(clock.sleeping).toBe(0);
});
