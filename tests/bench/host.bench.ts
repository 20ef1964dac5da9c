// What agents cost their host (host/*.ts say what each figure is).

import { option } from "@godwit/common/config";
import { measureCheckpoints } from "./host/checkpoints.ts";
import { measureResidents } from "./host/resident.ts";
import { measureStarts } from "./host/starts.ts";
import { measureTicks } from "./host/ticks.ts";
import { type Results, type Run, runBench } from "./program.ts";

const options = {
  only: option.list({
    fallback: ["ticks", "starts", "checkpoints", "residents"],
    help: "Of ticks, starts, checkpoints, residents.",
    pattern: /^(ticks|starts|checkpoints|residents)$/,
  }),
  rounds: option.integer({
    fallback: 7,
    min: 1,
    max: 1_000,
    help: "Rounds; a figure and its floor are measured in each.",
  }),
  stateBytes: option.integer({ fallback: 4_096, min: 16, max: 1_048_576, help: "Of a checkpoint." }),
  agents: option.list({
    fallback: ["1", "100", "1000", "10000"],
    help: "Survivors on one host, one figure after the other.",
    pattern: /^[1-9][0-9]{0,4}$/,
  }),
  seconds: option.integer({ fallback: 15, min: 1, max: 3_600, help: "For which each number of survivors is watched." }),
} as const;

await runBench({
  name: "host",
  summary: "Measures what ticks, checkpoints, starts and resident agents cost, beside what they cannot do without.",
  options,
  run,
});

async function run({ options: of, signal, say }: Run<typeof options>): Promise<Results> {
  const input = { signal, say };
  const parts: Readonly<Record<string, () => Promise<Results>>> = {
    ticks: () => measureTicks(of, input),
    starts: () => measureStarts(of, input),
    checkpoints: () => measureCheckpoints(of, input),
    residents: () =>
      measureResidents({ agents: of.agents.map(Number), secondsEach: of.seconds, env: {}, title: "residents" }, input),
  };
  const done: Results[] = [];
  for (const [name, part] of Object.entries(parts)) if (of.only.includes(name)) done.push(await part());
  return { figures: done.flatMap(({ figures }) => figures), notes: done.flatMap(({ notes }) => notes) };
}
