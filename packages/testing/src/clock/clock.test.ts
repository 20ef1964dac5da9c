import { systemClock } from "@godwit/common/clock";
import { describeClockContract } from "./clock-contract.ts";
import { FakeClock } from "./fake-clock.ts";

describeClockContract("systemClock", () => ({
  clock: systemClock,
  pass: (ms) => systemClock.sleep(ms, new AbortController().signal),
}));

describeClockContract("FakeClock", () => {
  const clock = new FakeClock();
  return { clock, pass: (ms) => clock.advance(ms) };
});
