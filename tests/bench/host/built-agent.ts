// An agent of a few functions, as large as a benchmark wants it: what a tick, a state and a module cost has nothing else in it.

import { type BuiltFunction, counterAgent, op } from "@godwit/sandbox/testing";

/** Where the three numbers of a tick, the state and a state that comes in lie; the first two are in the state. */
const at = { state: 16, time: 24, price: 32, chance: 40, incoming: 16_384 } as const;
const CHANCE_BYTES = 8;
const memoryCopy = [0xfc, 0x0a, 0x00, 0x00];
/** Bytes of one padding function's code: about what compilers make. */
const PADDING_BYTES = 1_024;

export const BUILT_STATE_BYTES = 4_096;

/** Three calls of the host a tick, 4 KiB of state. `variant` makes it another module, with which no cache is of any help. */
export function builtAgent({ moduleBytes = 0, variant = 0 } = {}): Uint8Array {
  const paddings = Math.ceil(moduleBytes / PADDING_BYTES);
  return counterAgent({
    hostcalls: ["clock_now", "node_price", "rand_bytes"],
    parts: {
      agent_tick: {
        code: [
          ...op.store64(at.time, op.call(0)),
          ...op.store64(at.price, op.call(1)),
          ...op.const(at.chance),
          ...op.const(CHANCE_BYTES),
          ...op.call(2), // what it answers, 0, is what the tick answers: no more work
        ],
      },
      agent_checkpoint: { code: op.const(BUILT_STATE_BYTES) },
      agent_checkpoint_ptr: { code: op.const(at.state) },
      agent_resume: { code: [...op.const(at.state), ...op.local(0), ...op.local(1), ...memoryCopy] },
      malloc: { code: op.const(at.incoming) },
      ...Object.fromEntries(Array.from({ length: paddings }, (_, n) => [`padding_${n}`, padding(variant + n)])),
    },
  });
}

function padding(seed: number): Partial<BuiltFunction> {
  const step = (n: number) => [...op.const64((seed * 7_919 + n * 104_729) & 0xff_ffff), ...op.add64];
  const code: number[] = [...op.load64(at.state)];
  for (let n = 0; code.length < PADDING_BYTES; n++) code.push(...step(n));
  return { code: [...code, ...op.drop] };
}
