// An agent of a few instructions: it counts its ticks in the 8 bytes of its state. Tests change single functions of it.

import { type HostcallName, hostcalls } from "../abi.ts";
import { type BuiltFunction, type BuiltModule, buildModule, op } from "./wasm-builder.ts";

/** Where the count stands, and where a state is put to be resumed. */
export const at = { count: 16, incoming: 1_024, scratch: 4_096 } as const;

export const countUp = op.store64(at.count, [...op.load64(at.count), ...op.const64(1), ...op.add64]);
export const noMoreWork = op.const(0);

type Part = Partial<BuiltFunction> | "absent";

export interface CounterOptions extends Omit<BuiltModule, "functions" | "imports"> {
  /** Hostcalls get the function indices 0, 1, … in this order. */
  readonly hostcalls?: readonly HostcallName[];
  readonly hostModule?: string;
  readonly parts?: Readonly<Record<string, Part>> | undefined;
  readonly imports?: BuiltModule["imports"];
}

const i32: BuiltFunction["params"] = ["i32"];

const counter: Readonly<Record<string, BuiltFunction>> = {
  agent_init: { params: [], results: [], code: [] },
  agent_tick: { params: [], results: i32, code: [...countUp, ...noMoreWork] },
  agent_checkpoint: { params: [], results: i32, code: op.const(8) },
  agent_checkpoint_ptr: { params: [], results: i32, code: op.const(at.count) },
  agent_resume: {
    params: ["i32", "i32"],
    results: [],
    code: op.store64(at.count, [...op.local(0), 0x29, 0x03, 0x00]),
  },
  malloc: { params: i32, results: i32, code: op.const(at.incoming) },
};

export function counterAgent({ parts = {}, hostModule = "igor", ...options }: CounterOptions = {}): Uint8Array {
  const names = [...new Set([...Object.keys(counter), ...Object.keys(parts)])];
  const functions = names.flatMap((name) => {
    const part = parts[name] ?? {};
    if (part === "absent") return [];
    const usual = counter[name] ?? { params: [], results: [], code: [] };
    return [{ ...usual, export: name, ...part }];
  });
  const imports = (options.hostcalls ?? []).map((name) => ({
    module: hostModule,
    name,
    params: hostcalls[name].params,
    results: hostcalls[name].results,
  }));
  return buildModule({ imports, ...options, functions });
}

/** A tick that does something only from the given count on; before, it counts. */
export function tickThat(doing: readonly number[], whenCountIs: number): Part {
  return {
    code: [
      ...op.load64(at.count),
      ...op.const64(whenCountIs),
      ...op.equal64,
      ...op.if(doing),
      ...countUp,
      ...noMoreWork,
    ],
  };
}

export function countOf(state: Uint8Array): bigint {
  return new DataView(state.buffer, state.byteOffset, state.byteLength).getBigUint64(0, true);
}

export function stateOf(count: bigint): Uint8Array {
  const state = new Uint8Array(8);
  new DataView(state.buffer).setBigUint64(0, count, true);
  return state;
}
