// Bad input, without end and the same for the same seed: bytes that were well-formed until something happened to them.

/** Changes of `originals`, and now and then bytes of no origin. Cheap: tens of thousands a second. */
export function* mutations(originals: readonly Uint8Array[], { seed, count }: { seed: number; count: number }) {
  const random = generator(seed);
  const below = (limit: number) => random() % limit;
  for (let made = 0; made < count; made++) {
    const original = originals[below(originals.length)] ?? new Uint8Array();
    let bytes = below(16) === 0 ? noise(below(512), random) : new Uint8Array(original);
    for (let times = 1 + below(4); times > 0 && bytes.length > 0; times--) bytes = changed(bytes, below);
    yield bytes;
  }
}

type Below = (limit: number) => number;

/** Values at which lengths and counts go wrong. */
const EDGES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

function changed(bytes: Uint8Array<ArrayBuffer>, below: Below): Uint8Array<ArrayBuffer> {
  const at = below(bytes.length);
  switch (below(6)) {
    case 0:
      return bytes.slice(0, at);
    case 1: // a piece of it is gone
      return joined(bytes.subarray(0, at), bytes.subarray(at + 1 + below(16)));
    case 2: // a piece of it is there twice
      return joined(bytes.subarray(0, at + 1 + below(64)), bytes.subarray(at));
    case 3: {
      if (bytes.length < 4) return bytes;
      const view = new DataView(bytes.buffer);
      view.setUint32(Math.min(at, bytes.length - 4), EDGES[below(EDGES.length)] ?? 0, true);
      return bytes;
    }
    case 4:
      bytes[at] = below(256);
      return bytes;
    default:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
      return bytes;
  }
}

function joined(front: Uint8Array, back: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(front.length + back.length);
  bytes.set(front);
  bytes.set(back, front.length);
  return bytes;
}

function noise(length: number, random: () => number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => random() & 0xff);
}

/** 32 bits at a time; no source of secrets. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e37_79b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}
