// `RunAgent` as it comes in: a spec, the module in chunks, of an agent of the seed system also its checkpoint and its receipts, and an
// end with the module's digest. A cut upload can look complete on the wire, so nothing counts without the end frame.

import { Fault } from "@godwit/common/fault";
import { DEFAULT_CHECKPOINT_LIMITS, digestOf } from "@godwit/lineage";
import type { RunSpec as AnnouncedSpec, RunAgentRequest } from "@godwit/proto/godwit/host/v1/host";
import type { RunSpec } from "../agents/roster.ts";

/** The largest state with any header of the seed. */
const MAX_CHECKPOINT_BYTES = DEFAULT_CHECKPOINT_LIMITS.maxStateBytes + 4096;
/** The seed wrote one every five seconds: those of some weeks. */
const MAX_RECEIPTS_BYTES = 64 * 2 ** 20;

export async function readUpload(requests: AsyncIterable<RunAgentRequest>, maxModuleBytes: number): Promise<RunSpec> {
  let upload: Upload | undefined;
  for await (const { frame } of requests) {
    if (frame.case === "spec") {
      if (upload !== undefined) throw outOfOrder("a second spec came");
      upload = begin(frame.value, maxModuleBytes);
      continue;
    }
    if (frame.case === undefined) throw outOfOrder("an empty frame came");
    if (upload === undefined) throw outOfOrder("something came before the spec");
    switch (frame.case) {
      case "moduleChunk":
        upload.module.add(frame.value);
        break;
      case "checkpointChunk":
        upload.checkpoint.add(frame.value);
        break;
      case "receiptsChunk":
        upload.receipts.add(frame.value);
        break;
      case "end":
        return finish(upload, Buffer.from(frame.value.sha256).toString("hex"));
    }
  }
  throw outOfOrder("the upload was cut: there is no end frame");
}

interface Upload extends Pick<RunSpec, "name" | "manifest" | "budget"> {
  readonly module: Part;
  readonly checkpoint: Part;
  readonly receipts: Part;
}

function begin(spec: AnnouncedSpec, maxModuleBytes: number): Upload {
  const { name, manifest, budget, moduleBytes, checkpointBytes, receiptsBytes } = spec;
  if (moduleBytes === 0n || moduleBytes > BigInt(maxModuleBytes)) {
    throw new Fault({ code: "MODULE_INVALID", reason: `it has ${moduleBytes} bytes; give 1 to ${maxModuleBytes}` });
  }
  if (receiptsBytes > 0n && checkpointBytes === 0n) throw outOfOrder("receipts come with a checkpoint");
  return {
    name,
    manifest: new Uint8Array(manifest),
    budget,
    module: new Part("module", moduleBytes, maxModuleBytes),
    checkpoint: new Part("checkpoint", checkpointBytes, MAX_CHECKPOINT_BYTES),
    receipts: new Part("receipts", receiptsBytes, MAX_RECEIPTS_BYTES),
  };
}

function finish({ name, manifest, budget, ...parts }: Upload, moduleDigest: string): RunSpec {
  const [module, checkpoint, receipts] = [parts.module.whole(), parts.checkpoint.whole(), parts.receipts.whole()];
  if (digestOf(module) !== moduleDigest) {
    throw new Fault({ code: "MODULE_INVALID", reason: "its bytes are not the ones that were announced" });
  }
  if (checkpoint.length === 0) return { name, manifest, budget, module };
  const seedFiles = { checkpoint, receipts: receipts.length === 0 ? undefined : receipts };
  return { name, manifest, budget, module, seedFiles };
}

/** Bytes that were announced and come in chunks. */
class Part {
  readonly #what: string;
  readonly #bytes: Uint8Array;
  #received = 0;

  constructor(what: string, announced: bigint, maxBytes: number) {
    if (announced > BigInt(maxBytes)) {
      throw new Fault({ code: "RESOURCE_LIMIT", what: `the size of the ${what}`, limit: maxBytes });
    }
    this.#what = what;
    this.#bytes = new Uint8Array(Number(announced));
  }

  add(chunk: Uint8Array): void {
    if (this.#received + chunk.length > this.#bytes.length) {
      throw outOfOrder(`more of the ${this.#what} came than was announced`);
    }
    this.#bytes.set(chunk, this.#received);
    this.#received += chunk.length;
  }

  whole(): Uint8Array {
    if (this.#received !== this.#bytes.length) throw outOfOrder(`the upload ended before its ${this.#what} did`);
    return this.#bytes;
  }
}

function outOfOrder(reason: string): Fault {
  return new Fault({ code: "FRAME_INVALID", reason });
}
