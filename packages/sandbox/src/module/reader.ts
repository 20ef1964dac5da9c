/** The bytes do not follow the binary format, or use a part of it that agents are not offered. The text says which. */
export class ModuleRefused extends Error {
  override readonly name = "ModuleRefused";
}

/** Names are told to whoever sent the module, when they are why it is refused. */
const maxNameBytes = 1_024;

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads a module front to back. Strict: what the engine would refuse later is refused here, so that both always see the same module. */
export class ModuleReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  at: number;

  constructor(bytes: Uint8Array, span: { readonly from: number; readonly to: number }) {
    this.#bytes = bytes;
    this.at = span.from;
    this.#end = span.to;
  }

  get done(): boolean {
    return this.at >= this.#end;
  }

  byte(): number {
    const value = this.at < this.#end ? this.#bytes[this.at] : undefined;
    if (value === undefined) throw new ModuleRefused(`ends in the middle of a field, at byte ${this.at}`);
    this.at += 1;
    return value;
  }

  /** An unsigned LEB128 number of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let index = 0, scale = 1; index < 5; index++, scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > 0xffff_ffff) break;
        return value;
      }
    }
    throw new ModuleRefused(`has a number of more than 32 bits before byte ${this.at}`);
  }

  name(): string {
    const length = this.u32();
    if (length > maxNameBytes) {
      throw new ModuleRefused(`has a name of ${length} bytes at byte ${this.at}; at most ${maxNameBytes} are admitted`);
    }
    const { from, to } = this.span(length);
    try {
      return text.decode(this.#bytes.subarray(from, to));
    } catch (cause) {
      throw new ModuleRefused(`has a name that is not UTF-8 at byte ${from}`, { cause });
    }
  }

  /** Steps over `length` bytes and says where they are. */
  span(length: number): { readonly from: number; readonly to: number } {
    const from = this.at;
    const to = from + length;
    if (to > this.#end) throw new ModuleRefused(`ends in the middle of a field, at byte ${from}`);
    this.at = to;
    return { from, to };
  }
}
