// Whole agents with an empty state, byte by byte: what one of their ticks does, and what they do when they are made.

export interface StillRecipe {
  /** Body of the tick, which leaves an i32. */
  readonly tick?: readonly number[];
  /** Body of agent_init. */
  readonly init?: readonly number[];
  /** Body of agent_resume. */
  readonly resume?: readonly number[];
  /** Makes another module of it, of the same behaviour. */
  readonly salt?: string;
}

export const code = {
  trap: [0x00],
  done: [0x41, 0],
  /** Some hundreds of milliseconds of a quick machine; leaves the memory as it was. */
  slow: [
    ...[0x03, 0x40], // loop
    ...[0x41, 0, 0x41, 0, 0x28, 2, 0, 0x41, 1, 0x6a, 0x36, 2, 0], // memory[0] += 1
    ...[0x41, 0, 0x28, 2, 0, 0x41, ...[0x80, 0xe1, 0xeb, 0x17], 0x48], // memory[0] < 50,000,000
    ...[0x0d, 0, 0x0b], // again
    ...[0x41, 0, 0x41, 0, 0x36, 2, 0], // memory[0] = 0
    ...[0x41, 0],
  ],
} as const;

export function stillAgent({ tick = code.done, init = [], resume = [], salt = "" }: StillRecipe = {}) {
  const bytes = (text: string) => [...new TextEncoder().encode(text)];
  const list = (items: readonly (readonly number[])[]) => [items.length, ...items.flat()];
  const section = (id: number, content: readonly number[]) => [id, content.length, ...content];
  const exported = (name: string, kind: number, index: number) => [name.length, ...bytes(name), kind, index];
  const body = (...instructions: readonly number[]) => [instructions.length + 2, 0, ...instructions, 0x0b];
  const i32 = 0x7f;
  const [nothing, number, resuming] = [0, 1, 2];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(
      1,
      list([
        [0x60, 0, 0],
        [0x60, 0, 1, i32],
        [0x60, 2, i32, i32, 0],
      ]),
    ),
    ...section(3, list([[nothing], [number], [number], [number], [resuming]])),
    ...section(5, list([[0, 1]])),
    ...section(
      7,
      list([
        exported("memory", 2, 0),
        exported("agent_init", 0, 0),
        exported("agent_tick", 0, 1),
        exported("agent_checkpoint", 0, 2),
        exported("agent_checkpoint_ptr", 0, 3),
        exported("agent_resume", 0, 4),
      ]),
    ),
    ...section(10, list([body(...init), body(...tick), body(0x41, 0), body(0x41, 0), body(...resume)])),
    ...section(0, [4, ...bytes("salt"), ...bytes(salt)]),
  ]);
}
