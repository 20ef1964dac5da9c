// A migration cut, swallowed, silenced and delayed before and after each kind of frame, at the one who sends it and at the
// one who reads it (testing.md, faults 4 to 6). Every case runs until its fault has struck.

import { FAULT_FRAMES } from "@godwit/agent-host/p2p";
import type { Cluster } from "@godwit/testing";
import { checkTold, type MoveEvent, move, outcomeOf } from "./judge.ts";
import { LIES, type Lie } from "./lying-faults.ts";
import type { Tally } from "./tally.ts";
import type { TwinHost } from "./twin-host.ts";
import { type AgentKind, Twins } from "./twins.ts";

export interface SuiteRules {
  readonly tally: Tally;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  /** Only cases that are named so, in part; all when unset. */
  readonly only?: string | undefined;
  /** Cases under way at one time. */
  readonly lanes?: number;
}

type Frame = (typeof FAULT_FRAMES)[number];

interface FrameCase {
  /** As it is armed: `send:offer:cut-before`. */
  readonly fault: string;
  readonly at: "source" | "target";
  readonly action: string;
  readonly agent: AgentKind;
  /** HANDOFF is answered with it; then `fault` is only a name. */
  readonly lie?: Lie;
  readonly needs: "nothing" | "unknown-module" | "refused-offer" | "refused-handoff";
}

const targetFrames: ReadonlySet<Frame> = new Set<Frame>(["accept", "prepared", "started", "refused"]);
const actions = ["cut-before", "cut-after", "swallow", "swallow-after", "delay=40"] as const;
/** Longer than the other side waits at first. */
const late = "delay=1000";
const lateFrames: ReadonlySet<Frame> = new Set<Frame>(["accept", "prepared", "checkpoint", "handoff-end", "started"]);
const stateFrames = 4;
const maxTries = 8;

export function frameCases(): readonly FrameCase[] {
  const cuts = FAULT_FRAMES.flatMap((frame) => (["send", "receive"] as const).flatMap((way) => casesOf(frame, way)));
  return [...cuts, ...LIES.map(lieCase)];
}

function lieCase(lie: Lie): FrameCase {
  return { fault: `receive:started:${lie}`, at: "source", action: "lie", agent: "small", lie, needs: "nothing" };
}

function casesOf(frame: Frame, way: "send" | "receive"): readonly FrameCase[] {
  const at = (way === "send") === targetFrames.has(frame) ? "target" : "source";
  const agent = frame === "state" ? "large" : "small";
  const here = lateFrames.has(frame) ? [...actions, late] : actions;
  const nths = frame === "state" ? ["", `${stateFrames}:`] : [""];
  const needs: readonly FrameCase["needs"][] =
    frame === "module" ? ["unknown-module"] : frame === "refused" ? ["refused-offer", "refused-handoff"] : ["nothing"];
  return here.flatMap((action) =>
    nths.flatMap((nth) =>
      needs.map((need) => ({ fault: `${way}:${frame}:${nth}${action}`, at, action, agent, needs: need })),
    ),
  );
}

/** Every case once. */
export async function runFrames(
  cluster: Cluster,
  { tally, signal, say, only = "", lanes = 3 }: SuiteRules,
): Promise<void> {
  const cases = frameCases().filter(({ fault }) => fault.includes(only));
  const all = cases.length;
  say(`${all} cuts at the boundaries of frames`);
  const lane = async (name: string): Promise<void> => {
    await using bench = await Bench.start(cluster, name, signal);
    for (let next = cases.shift(); next !== undefined; next = cases.shift()) {
      signal.throwIfAborted();
      const kind = `frames: ${next.action.replace(/=.*/, "")}`;
      try {
        tally.fired(kind, await bench.strike(next));
      } catch (error) {
        signal.throwIfAborted();
        tally.failed(kind, `frames: ${next.fault} at the ${next.at} (${next.needs})`, error);
        await bench.anew();
      }
      if (cases.length % 20 === 0) say(`${all - cases.length} of ${all} frame cuts`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(`frames-${index}`)));
}

/** Two hosts and the agents that are sent to and fro between them. */
class Bench implements AsyncDisposable {
  readonly #twins: Twins;
  readonly #signal: AbortSignal;
  #agents: { readonly [Kind in AgentKind]?: string } = {};

  static async start(cluster: Cluster, name: string, signal: AbortSignal): Promise<Bench> {
    return new Bench(await Twins.start(cluster, name, signal), signal);
  }

  private constructor(twins: Twins, signal: AbortSignal) {
    this.#twins = twins;
    this.#signal = signal;
  }

  async strike(asked: FrameCase) {
    const unlike = asked.needs === "unknown-module";
    for (let tries = 1; ; tries++) {
      const agentId = unlike
        ? await this.#twins.newAgent(asked.agent, { unlike })
        : (this.#agents[asked.agent] ?? (await this.#twins.newAgent(asked.agent)));
      if (!unlike) this.#agents = { ...this.#agents, [asked.agent]: agentId };
      const struck = await this.#once(agentId, asked);
      if (unlike) await this.#twins.end(agentId);
      if (struck !== undefined) {
        this.#twins.patience(1);
        return struck;
      }
      // It ended before the frame came, as on a machine that stands still for a moment.
      if (tries === maxTries) throw new Error(`the fault did not strike in ${tries} migrations`);
      this.#twins.patience(2 ** tries);
    }
  }

  async anew(): Promise<void> {
    for (const { faults } of this.#twins.hosts) faults.disarm();
    this.#agents = {};
    this.#twins.patience(1);
    await this.#twins.disconnect().catch(() => {}); // it is only to begin well
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#twins[Symbol.asyncDispose]();
  }

  /** The outcome; undefined when the fault did not strike. */
  async #once(agentId: string, { fault, at, action, needs, lie }: FrameCase) {
    const before = await this.#twins.settle(agentId);
    const source = before.owner;
    const target = this.#twins.other(source);
    const victim = at === "source" ? source : target;
    if (lie === undefined) victim.faults.arm(fault);
    else victim.faults.lie(lie);
    if (needs === "refused-handoff") target.faults.arm("receive:handoff:swallow");
    if (needs === "refused-offer") await setPrice(target, dear);
    let story: readonly MoveEvent[];
    try {
      story = await move(source, agentId, { to: target, signal: this.#signal });
    } finally {
      if (needs === "refused-offer") await setPrice(target, fair);
    }
    const after = await this.#twins.settle(agentId);
    const struck = victim.faults.armed().every((armed) => armed !== fault) && victim.faults.isLieTold();
    for (const { faults } of this.#twins.hosts) faults.disarm();
    // Streams that were silenced stay open until their connection ends.
    if (action === "swallow-after") await this.#twins.disconnect();
    if (!struck) return undefined;
    const outcome = outcomeOf({ owner: source, major: before.status.major }, after);
    checkTold(story, outcome);
    return outcome;
  }
}

const fair = 1_000n;
const dear = 20_000n;

async function setPrice(host: TwinHost, pricePerSecond: bigint): Promise<void> {
  await host.host.setPrice({ pricePerSecond });
}
