import { expect, test } from "vitest";
import { seededMachine } from "./seeded-machine.ts";

/** What an agent would see: bytes in pieces, and the time. */
function seen(seed: number) {
  const machine = seededMachine(new Uint8Array(32).fill(seed));
  return [8, 1, 32].map((size) => {
    const bytes = new Uint8Array(size);
    machine.fillRandom(bytes);
    return [...bytes, machine.nowNs()];
  });
}

test("the same seed gives the same time and chance, another one another chance", () => {
  expect(seen(1)).toEqual(seen(1));
  expect(seen(1)).not.toEqual(seen(2));
});

test("no bytes are drawn twice, and time goes on with each look at it", () => {
  const machine = seededMachine(new Uint8Array(32));
  const [one, two] = [new Uint8Array(16), new Uint8Array(16)];
  machine.fillRandom(one);
  machine.fillRandom(two);
  expect(one).not.toEqual(two);
  expect(machine.nowNs()).toBeLessThan(machine.nowNs());
});
