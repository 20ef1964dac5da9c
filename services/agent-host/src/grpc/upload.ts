// `RunAgent` as it comes in: a spec, the module in chunks, and an end with its digest. A cut upload can look complete on
// the wire, so nothing counts without the end frame.

import { Fault } from "@godwit/common/fault";
import { digestOf } from "@godwit/lineage";
import type { RunAgentRequest } from "@godwit/proto/godwit/host/v1/host";
import type { RunSpec } from "../agents/roster.ts";

export async function readUpload(requests: AsyncIterable<RunAgentRequest>, maxModuleBytes: number): Promise<RunSpec> {
  let spec: Omit<RunSpec, "module"> | undefined;
  let module = new Uint8Array(0);
  let received = 0;
  for await (const { frame } of requests) {
    if (frame.case === "spec") {
      if (spec !== undefined) throw outOfOrder("a second spec came");
      const { name, manifest, budget, moduleBytes } = frame.value;
      if (moduleBytes === 0n || moduleBytes > BigInt(maxModuleBytes)) {
        throw new Fault({ code: "MODULE_INVALID", reason: `it has ${moduleBytes} bytes; give 1 to ${maxModuleBytes}` });
      }
      spec = { name, manifest: new Uint8Array(manifest), budget };
      module = new Uint8Array(Number(moduleBytes));
    } else if (frame.case === "moduleChunk") {
      if (spec === undefined) throw outOfOrder("the module came before the spec");
      const chunk = frame.value;
      if (received + chunk.length > module.length) throw outOfOrder("more of the module came than was announced");
      module.set(chunk, received);
      received += chunk.length;
    } else if (frame.case === "end") {
      if (spec === undefined || received !== module.length) throw outOfOrder("the upload ended before its module did");
      if (digestOf(module) !== Buffer.from(frame.value.sha256).toString("hex")) {
        throw new Fault({ code: "MODULE_INVALID", reason: "its bytes are not the ones that were announced" });
      }
      return { ...spec, module };
    } else {
      throw outOfOrder("an empty frame came");
    }
  }
  throw outOfOrder("the upload was cut: there is no end frame");
}

function outOfOrder(reason: string): Fault {
  return new Fault({ code: "FRAME_INVALID", reason });
}
