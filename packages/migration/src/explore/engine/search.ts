// Breadth-first over everything that a system can do, so that what is found is found by a shortest path.
//
// Safety is checked on every step and every state. Liveness afterwards, on the edges that need no fault: from every state a
// goal must be reachable through them. Edges mostly lead to younger states, so a few passes from the youngest to the oldest
// settle it.

import { Int32List } from "./chunked.ts";
import { StateTable } from "./state-table.ts";

export interface Step {
  readonly who: string;
  readonly event: string;
  /** Needs a fault, an operator or anything else that nobody may count on. */
  readonly fault: boolean;
  /** The step itself breaks a rule. */
  readonly violation: string | undefined;
}

/** `next` is only valid during the call. */
export type Emit = (next: Int32Array, step: Step) => void;

export interface System {
  /** Words of a packed state. */
  readonly words: number;
  initial(): Int32Array;
  expand(state: Int32Array, emit: Emit): void;
  /** What is wrong with the state as it stands. */
  violation(state: Int32Array): string | undefined;
  /** What must stay reachable without faults. */
  isGoal(state: Int32Array): boolean;
  /** Parts of the state for people, by name. */
  describe(state: Int32Array): ReadonlyMap<string, string>;
}

export interface SearchLimits {
  readonly maxStates: number;
  /** Called now and then. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly states: number;
  readonly expanded: number;
  readonly depth: number;
}

export interface TraceStep {
  readonly who: string;
  readonly event: string;
  readonly changes: readonly string[];
}

export interface Counterexample {
  readonly rule: string;
  readonly steps: readonly TraceStep[];
}

export interface SearchResult {
  readonly verdict: "holds" | "violated" | "stuck" | "too-large";
  readonly states: number;
  readonly transitions: number;
  readonly depth: number;
  readonly bytes: number;
  readonly counterexample: Counterexample | undefined;
}

const progressEvery = 1 << 15;

export function search(system: System, { maxStates, onProgress }: SearchLimits): SearchResult {
  const table = new StateTable(system.words);
  const parents = new Int32List();
  /** For each state: where its fault-free successors begin in `edges`. */
  const firstEdge = new Int32List();
  const edges = new Int32List();
  const goals: number[] = [];
  const state = new Int32Array(system.words);
  let transitions = 0;
  let depth = 0;
  let levelEnd = 1;
  let broken:
    | { readonly parent: number; readonly step: Step; readonly next: Int32Array; readonly rule: string }
    | undefined;

  const meet = (id: number, words: Int32Array): void => {
    if (system.isGoal(words)) goals[id >>> 5] = (goals[id >>> 5] ?? 0) | (1 << (id & 31));
    else goals[id >>> 5] ??= 0;
  };
  const result = (verdict: SearchResult["verdict"], counterexample?: Counterexample): SearchResult => ({
    verdict,
    states: table.size,
    transitions,
    depth,
    bytes: table.bytes + parents.bytes + firstEdge.bytes + edges.bytes,
    counterexample,
  });

  const initial = system.initial();
  table.add(initial);
  parents.push(-1);
  meet(0, initial);
  const wrong = system.violation(initial);
  if (wrong !== undefined) return result("violated", { rule: wrong, steps: [] });

  let current = 0;
  const emit: Emit = (next, step) => {
    if (broken !== undefined) return;
    transitions++;
    if (step.violation !== undefined) {
      broken = { parent: current, step, next: next.slice(), rule: step.violation };
      return;
    }
    const known = table.add(next);
    const id = known < 0 ? -1 - known : known;
    if (!step.fault) edges.push(id);
    if (known < 0) return;
    parents.push(current);
    meet(id, next);
    const rule = system.violation(next);
    if (rule !== undefined) broken = { parent: current, step, next: next.slice(), rule };
  };

  for (; current < table.size; current++) {
    if (current === levelEnd) {
      depth++;
      levelEnd = table.size;
    }
    firstEdge.push(edges.length);
    table.read(current, state);
    system.expand(state, emit);
    if (broken !== undefined) {
      const { parent, step, next, rule } = broken;
      const steps = [...trace(system, table, parents, parent), traceStep(system, table, parent, next, step)];
      return result("violated", { rule, steps });
    }
    if (table.size > maxStates) return result("too-large");
    if (current % progressEvery === 0) onProgress?.({ states: table.size, expanded: current, depth });
  }
  firstEdge.push(edges.length);

  const stuck = firstStuck(table.size, goals, firstEdge, edges);
  if (stuck < 0) return result("holds");
  return result("stuck", {
    rule: "liveness: from here no owner that ticks can be reached without further faults",
    steps: trace(system, table, parents, stuck),
  });
}

/** The oldest state from which no goal can be reached; -1 if there is none. `good` is extended in place. */
function firstStuck(size: number, good: number[], firstEdge: Int32List, edges: Int32List): number {
  for (let changed = true; changed; ) {
    changed = false;
    for (let id = size - 1; id >= 0; id--) {
      if (((good[id >>> 5] as number) >>> (id & 31)) & 1) continue;
      const end = firstEdge.at(id + 1);
      for (let edge = firstEdge.at(id); edge < end; edge++) {
        const next = edges.at(edge);
        if (((good[next >>> 5] as number) >>> (next & 31)) & 1) {
          good[id >>> 5] = (good[id >>> 5] as number) | (1 << (id & 31));
          changed = true;
          break;
        }
      }
    }
  }
  for (let id = 0; id < size; id++) if (!(((good[id >>> 5] as number) >>> (id & 31)) & 1)) return id;
  return -1;
}

/** The steps from the first state to `last`, found again by expanding each state on the way. */
function trace(system: System, table: StateTable, parents: Int32List, last: number): TraceStep[] {
  const path: number[] = [];
  for (let id = last; id >= 0; id = parents.at(id)) path.push(id);
  path.reverse();
  const steps: TraceStep[] = [];
  for (let at = 1; at < path.length; at++) {
    const from = new Int32Array(system.words);
    const to = new Int32Array(system.words);
    table.read(path[at - 1] as number, from);
    table.read(path[at] as number, to);
    let taken: Step | undefined;
    system.expand(from, (next, step) => {
      if (taken === undefined && next.every((word, index) => word === to[index])) taken = step;
    });
    if (taken === undefined) throw new Error("a step could not be found again: the system is not deterministic");
    steps.push(describeStep(system, from, to, taken));
  }
  return steps;
}

function traceStep(system: System, table: StateTable, parent: number, next: Int32Array, step: Step): TraceStep {
  const from = new Int32Array(system.words);
  table.read(parent, from);
  return describeStep(system, from, next, step);
}

function describeStep(system: System, from: Int32Array, to: Int32Array, { who, event }: Step): TraceStep {
  const before = system.describe(from);
  const changes: string[] = [];
  for (const [name, after] of system.describe(to)) {
    const was = before.get(name);
    if (was !== after)
      changes.push(`${name}: ${was === undefined || was === "" ? "none" : was} → ${after === "" ? "none" : after}`);
  }
  return { who, event, changes };
}
