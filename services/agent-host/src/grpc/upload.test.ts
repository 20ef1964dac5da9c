import { create } from "@bufbuild/protobuf";
import { digestOf } from "@godwit/lineage";
import { type RunAgentRequest, RunAgentRequestSchema } from "@godwit/proto/godwit/host/v1/host";
import { describe, expect, test } from "vitest";
import { readUpload } from "./upload.ts";

type Frame = RunAgentRequest["frame"];
type SpecInit = { moduleBytes?: bigint; checkpointBytes?: bigint; receiptsBytes?: bigint };

const module = Uint8Array.of(0, 97, 115, 109, 1);
const checkpoint = Uint8Array.of(4, 1, 2);
const receipts = Uint8Array.of(0, 0, 0, 0);

const spec = (sizes: SpecInit = {}) =>
  create(RunAgentRequestSchema, {
    frame: { case: "spec", value: { name: "a", budget: 7n, moduleBytes: 5n, ...sizes } },
  }).frame;
const chunk = (what: "moduleChunk" | "checkpointChunk" | "receiptsChunk", value: Uint8Array): Frame => ({
  case: what,
  value,
});
const end: Frame = create(RunAgentRequestSchema, {
  frame: { case: "end", value: { sha256: Buffer.from(digestOf(module), "hex") } },
}).frame;
const both = { checkpointBytes: 3n, receiptsBytes: 4n };

async function* requests(...frames: readonly Frame[]): AsyncGenerator<RunAgentRequest> {
  for (const frame of frames) yield create(RunAgentRequestSchema, { frame });
}

const upload = (...frames: readonly Frame[]) => readUpload(requests(...frames), 1_000);

describe("an upload", () => {
  test("gives the module, whatever the chunks", async () => {
    const halves = [chunk("moduleChunk", module.subarray(0, 2)), chunk("moduleChunk", module.subarray(2))];
    expect(await upload(spec(), ...halves, end)).toEqual({ name: "a", manifest: new Uint8Array(), budget: 7n, module });
  });

  test("of an agent of the seed system gives its files too, in any order ahead of the end", async () => {
    const parts = [
      chunk("receiptsChunk", receipts),
      chunk("checkpointChunk", checkpoint),
      chunk("moduleChunk", module),
    ];
    expect(await upload(spec(both), ...parts, end)).toMatchObject({ module, seedFiles: { checkpoint, receipts } });
    expect(await upload(spec({ checkpointBytes: 3n }), ...parts.slice(1), end)).toMatchObject({
      seedFiles: { checkpoint, receipts: undefined },
    });
  });

  test.for<[string, readonly Frame[], string]>([
    ["without an end", [spec(), chunk("moduleChunk", module)], "the upload was cut"],
    ["without a spec", [chunk("moduleChunk", module)], "something came before the spec"],
    ["with two specs", [spec(), spec()], "a second spec came"],
    ["with a frame that says nothing", [spec(), { case: undefined }], "an empty frame came"],
    ["of no module", [spec({ moduleBytes: 0n })], "it has 0 bytes"],
    ["of a module that is too large", [spec({ moduleBytes: 1_001n })], "it has 1001 bytes"],
    ["that ends before its module", [spec(), end], "ended before its module did"],
    ["of more module than was announced", [spec(), chunk("moduleChunk", new Uint8Array(6))], "more of the module came"],
    [
      "of another module than was announced",
      [spec(), chunk("moduleChunk", new Uint8Array(5)), end],
      "not the ones that",
    ],
    ["that ends before its checkpoint", [spec(both), chunk("moduleChunk", module), end], "before its checkpoint did"],
    [
      "of a checkpoint that was not announced",
      [spec(), chunk("checkpointChunk", checkpoint)],
      "more of the checkpoint",
    ],
    ["of receipts that were not announced", [spec(), chunk("receiptsChunk", receipts)], "more of the receipts"],
    ["of receipts without a checkpoint", [spec({ receiptsBytes: 4n })], "receipts come with a checkpoint"],
  ])("%s is refused", async ([, frames, reason]) => {
    await expect(upload(...frames)).rejects.toThrow(reason);
  });

  test.each([
    [{ checkpointBytes: 2n ** 62n }, "the size of the checkpoint"],
    [{ checkpointBytes: 1n, receiptsBytes: 2n ** 62n }, "the size of the receipts"],
  ])("T-25: that announces %o allocates nothing", async (sizes, what) => {
    await expect(upload(spec(sizes))).rejects.toThrow(`${what} is over the limit`);
  });
});
