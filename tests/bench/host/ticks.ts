// What a tick costs, from the host's call to its result: the message to the worker and back, the clock around it, three calls of the
// host and their record, 4 KiB of state taken out. What the supervisor adds (money, lease, checkpoints) is in the residents' figures.
//
// bare message  A message to a bare worker that makes a bare call, and its answer; as many at a time.
// bare call     The same agent's exported tick, called on the spot, with a host that does nothing but tell the time.

import { systemClock } from "@godwit/common/clock";
import { type AgentInstance, capabilities, defaultSandboxRules, Sandbox } from "@godwit/sandbox";
import { figure, median } from "../figures.ts";
import type { Results } from "../program.ts";
import { BareAgents } from "./bare-agents.ts";
import { compileBare, instantiateBare } from "./bare-wasm.ts";
import { builtAgent } from "./built-agent.ts";
import { cpuMs, type PartInput } from "./measuring.ts";

const AGENTS = 256;
const TICKS_EACH = 40;
const TICKS_OF_ONE = 4_000;
const BARE_CALLS = 1_000_000;
/** On a machine that has no time for it, a worker may stand still for longer than a tick may take. */
const PATIENCE_MS = 10_000;
/** What the Go system takes in one process for three hostcalls and 4 KiB of state. */
const AIM_US = 70;

interface Cost {
  readonly wallUs: number;
  readonly cpuUs: number;
}

export async function measureTicks(
  { rounds }: { readonly rounds: number },
  { signal, say }: PartInput,
): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  const bytes = builtAgent();
  const rules = { ...defaultSandboxRules, workers: 1, tickTimeoutMs: PATIENCE_MS };
  const sandbox = new Sandbox({ clock: systemClock }, rules);
  stack.defer(() => sandbox.stop());
  const granted = new Set(capabilities);
  const module = await sandbox.compile(bytes, granted);
  const start = (agentId: string) =>
    sandbox.start({ agentId, module, capabilities: granted, state: undefined, signal });
  const agents = await Promise.all(Array.from({ length: AGENTS }, (_, n) => start(`agent-${n}`)));
  const [one] = agents;
  if (one === undefined) throw new Error("there are no agents");
  const bare = stack.use(await BareAgents.make(bytes, AGENTS));

  say(`ticks: ${AGENTS} agents on one worker`);
  const costs = { one: [] as Cost[], oneBare: [] as Cost[], many: [] as Cost[], manyBare: [] as Cost[] };
  const calls: number[] = [];
  for (let round = -1; round < rounds; round++) {
    signal.throwIfAborted();
    const measured = {
      one: await costOf(TICKS_OF_ONE, () => tickOften(one, TICKS_OF_ONE, signal)),
      oneBare: await costOf(TICKS_OF_ONE, () => repeat(TICKS_OF_ONE, () => bare.tick())),
      many: await costOf(AGENTS * TICKS_EACH, () => together((n) => tickOften(agents[n] ?? one, TICKS_EACH, signal))),
      manyBare: await costOf(AGENTS * TICKS_EACH, () => together(() => repeat(TICKS_EACH, () => bare.tick()))),
    };
    const callUs = bareCallUs(bytes);
    if (round < 0) continue; // warms up
    for (const name of ["one", "oneBare", "many", "manyBare"] as const) costs[name].push(measured[name]);
    calls.push(callUs);
  }
  const wall = (name: keyof typeof costs) => median(costs[name].map(({ wallUs }) => wallUs));
  const cpu = (name: keyof typeof costs) => median(costs[name].map(({ cpuUs }) => cpuUs));
  const aim = { of: "value", atMost: AIM_US } as const;
  const many = `a tick, ${AGENTS} agents on one worker`;
  return {
    figures: [
      figure({ name: `${many} / bare messages`, unit: "us", value: wall("many"), floor: wall("manyBare"), aim }),
      figure({ name: "the same, of the processor", unit: "us", value: cpu("many"), floor: cpu("manyBare") }),
      figure({ name: `${many} / a bare call`, unit: "us", value: wall("many"), floor: median(calls) }),
      figure({
        name: "a tick of one agent alone / a bare message",
        unit: "us",
        value: wall("one"),
        floor: wall("oneBare"),
        aim,
      }),
    ],
    notes: [
      `ticks: ${(1e6 / wall("many")).toFixed(0)} a second on one worker, ${(1e6 / wall("one")).toFixed(0)} of one agent alone`,
    ],
  };
}

async function costOf(ticks: number, work: () => Promise<unknown>): Promise<Cost> {
  const [startedMs, cpuStartedMs] = [performance.now(), cpuMs()];
  await work();
  const [wallMs, usedMs] = [performance.now() - startedMs, cpuMs() - cpuStartedMs];
  return { wallUs: (wallMs * 1_000) / ticks, cpuUs: (usedMs * 1_000) / ticks };
}

async function tickOften(agent: AgentInstance, ticks: number, signal: AbortSignal): Promise<void> {
  const input = { balanceMicrocents: 1_000_000n, pricePerSecond: 1_000n, receipts: [] };
  await repeat(ticks, async () => {
    const result = await agent.tick(input, signal);
    if (result.kind === "failed") throw new Error(`a tick failed: ${result.message}`);
  });
}

async function repeat(times: number, work: () => Promise<void>): Promise<void> {
  for (let done = 0; done < times; done++) await work();
}

async function together(work: (index: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: AGENTS }, (_, index) => work(index)));
}

function bareCallUs(bytes: Uint8Array): number {
  const tick = instantiateBare(compileBare(bytes))["agent_tick"];
  if (tick === undefined) throw new Error("the agent has no tick");
  const startedMs = performance.now();
  for (let call = 0; call < BARE_CALLS; call++) tick();
  return ((performance.now() - startedMs) * 1_000) / BARE_CALLS;
}
