// What it costs to start an agent from a module of 200 KB in a worker that is there: from the call to its first state.
//
// cold      From the module's bytes: read, checked, hashed, bounded and compiled. The floor compiles bare bytes, and has a bare worker make
//           an instance and call `agent_init`. Each round has a module of its own, since the engine remembers what it has compiled.
// compiled  The module is there. The floor is the bare worker's part.

import { systemClock } from "@godwit/common/clock";
import { capabilities, defaultSandboxRules, Sandbox } from "@godwit/sandbox";
import { figure, median } from "../figures.ts";
import type { Results } from "../program.ts";
import { BareAgents } from "./bare-agents.ts";
import { compileBare } from "./bare-wasm.ts";
import { builtAgent } from "./built-agent.ts";
import type { PartInput } from "./measuring.ts";

const MODULE_BYTES = 200_000;
const WARM_STARTS = 20;

export async function measureStarts(
  { rounds }: { readonly rounds: number },
  { signal, say }: PartInput,
): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  const sandbox = new Sandbox({ clock: systemClock }, { ...defaultSandboxRules, workers: 1 });
  stack.defer(() => sandbox.stop());
  const bare = stack.use(await BareAgents.make(builtAgent(), 1));
  const granted = new Set(capabilities);
  const moduleOf = (variant: number) => builtAgent({ moduleBytes: MODULE_BYTES, variant });
  const bytes = moduleOf(0).length;
  say(`starts: from a module of ${bytes} bytes`);

  const ms = { cold: [] as number[], coldBare: [] as number[], warm: [] as number[], warmBare: [] as number[] };
  for (let round = -1; round < rounds; round++) {
    signal.throwIfAborted();
    const [ours, theirs] = [moduleOf(2 * round + 10_002), moduleOf(2 * round + 20_003)];
    const start = async (module: Awaited<ReturnType<Sandbox["compile"]>>) => {
      const agent = await sandbox.start({ agentId: "agent", module, capabilities: granted, state: undefined, signal });
      await agent.stop();
    };
    const cold = await msOf(async () => start(await sandbox.compile(ours, granted)));
    const coldBare = await msOf(() => bare.add(compileBare(theirs)));
    const [module, bareModule] = [await sandbox.compile(ours, granted), compileBare(theirs)];
    const warm = await msOf(() => repeat(WARM_STARTS, () => start(module)));
    const warmBare = await msOf(() => repeat(WARM_STARTS, () => bare.add(bareModule)));
    if (round < 0) continue; // warms up
    ms.cold.push(cold);
    ms.coldBare.push(coldBare);
    ms.warm.push(warm / WARM_STARTS);
    ms.warmBare.push(warmBare / WARM_STARTS);
  }
  const name = `start of an agent from ${(bytes / 1_000).toFixed(0)} KB`;
  return {
    figures: [
      figure({ name: `${name}, cold`, unit: "ms", value: median(ms.cold), floor: median(ms.coldBare) }),
      figure({ name: `${name}, compiled`, unit: "ms", value: median(ms.warm), floor: median(ms.warmBare) }),
    ],
    notes: [],
  };
}

async function msOf(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function repeat(times: number, work: () => Promise<void>): Promise<void> {
  for (let done = 0; done < times; done++) await work();
}
