import { digestOf } from "@godwit/lineage";
import { describe, expect, test } from "vitest";
import { chain, openAt, openNew, ownerEntry, signed, temporaryDirectory } from "../../test/storage-place.ts";
import type { DataDirectory, WriteUnit } from "./index.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const digestOfText = (text: string) => digestOf(bytes(text));

/** An agent that is new here and names these. */
function agentOf(nonce: number, module: string, manifest: string) {
  const [checkpoint] = chain(1, nonce);
  const { agentId } = checkpoint.header;
  const agent = { name: "survivor", moduleDigest: digestOfText(module), manifestDigest: digestOfText(manifest) };
  const unit: WriteUnit = { agentId, agent, checkpoint, journal: ownerEntry(checkpoint) };
  return { agentId, agent, checkpoint, unit };
}

async function put(directory: DataDirectory, ...texts: readonly string[]): Promise<void> {
  for (const text of texts) await directory.putBlob(bytes(text));
}

function kept(directory: DataDirectory, ...texts: readonly string[]): readonly string[] {
  return texts.filter((text) => directory.hasBlob(digestOfText(text)));
}

describe("a collection of modules and manifests", () => {
  test("T-25: what an agent or a staged handoff names stays, everything else goes, and its room is used again", async () => {
    const directory = await openNew({ maxBytes: 3_000_000 });
    const { unit } = agentOf(1, "its module", "its manifest");
    const staged = agentOf(2, "a staged module", "a staged manifest");
    await put(directory, "its module", "its manifest", "a staged module", "a staged manifest", "left over");
    await directory.commit(unit);
    const { agent, checkpoint, agentId } = staged;
    const incoming = { handoffId: "h1", agent, sourceHostId: "another", token: signed, checkpoint };
    await directory.stage(incoming);
    const needed = ["its module", "its manifest", "a staged module", "a staged manifest"];
    for (let round = 0; round < 6; round++) {
      await directory.putBlob(new Uint8Array(1_000_000).fill(round)); // more than fits, all together
      expect(await directory.collectBlobs()).toBe(round === 0 ? 2 : 1);
      expect(kept(directory, ...needed, "left over")).toEqual(needed);
    }
    expect(await directory.collectBlobs()).toBe(0);

    await directory.commit({ agentId, dropStaging: "h1" });
    expect(await directory.collectBlobs()).toBe(2);
    expect(kept(directory, ...needed)).toEqual(needed.slice(0, 2));
  });

  test("T-25: a module that two agents share stays with the second, and a tombstone names none", async () => {
    const directory = await openNew();
    const agents = [agentOf(1, "shared", "one"), agentOf(2, "shared", "two")] as const;
    await put(directory, "shared", "one", "two");
    for (const { unit } of agents) await directory.commit(unit);
    const journal = { phase: "terminated", termination: signed } as const;
    await directory.commit({ agentId: agents[0].agentId, journal });
    await directory.collectBlobs();
    expect(kept(directory, "shared", "one", "two")).toEqual(["shared", "two"]);
    await directory.commit({ agentId: agents[1].agentId, journal });
    await directory.collectBlobs();
    expect(kept(directory, "shared", "one", "two")).toEqual([]);
  });

  test("T-25: what is being staged is held: it stays until the last who holds it lets go, whoever put it", async () => {
    const directory = await openNew();
    const first = directory.holdBlobs(digestOfText("coming"), digestOfText("there already"));
    const second = directory.holdBlobs(digestOfText("coming"));
    await put(directory, "coming", "there already", "left over");
    await directory.collectBlobs();
    expect(kept(directory, "coming", "there already", "left over")).toEqual(["coming", "there already"]);
    first[Symbol.dispose]();
    first[Symbol.dispose](); // once more changes nothing: the other one still holds it
    await directory.collectBlobs();
    expect(kept(directory, "coming", "there already")).toEqual(["coming"]);
    second[Symbol.dispose]();
    await directory.collectBlobs();
    expect(kept(directory, "coming")).toEqual([]);
  });

  test("T-25: one beside the very write that names it takes nothing of it, in whatever order they come", async () => {
    for (const order of ["before", "after"] as const) {
      const directory = await openNew();
      const { unit, agent } = agentOf(1, "its module", "its manifest");
      await put(directory, "its module", "its manifest");
      {
        using _held = directory.holdBlobs(agent.moduleDigest, agent.manifestDigest);
        const writes = [() => directory.commit(unit), () => directory.collectBlobs()];
        await Promise.all((order === "before" ? writes : writes.toReversed()).map((write) => write()));
      }
      await directory.collectBlobs();
      expect(kept(directory, "its module", "its manifest")).toEqual(["its module", "its manifest"]);
    }
  });

  test("T-25: a thousand that nobody names are no more than so many at any time, without being asked", async () => {
    const directory = await openNew({ collectAfterBytes: 256 * 1024 });
    const digests: string[] = [];
    const left = () => digests.filter((digest) => directory.hasBlob(digest)).length;
    let most = 0;
    for (let round = 0; round < 50; round++) {
      const modules = Array.from({ length: 20 }, (_, index) => bytes(`module ${round}.${index}`));
      digests.push(...(await Promise.all(modules.map((module) => directory.putBlob(module)))));
      most = Math.max(most, left());
    }
    expect(digests).toHaveLength(1_000);
    expect(most).toBeLessThan(100);
    await directory.collectBlobs();
    expect(left()).toBe(0);
  });

  test("T-25: who holds is gone with the process: the next one collects what it left", async () => {
    const path = await temporaryDirectory();
    const directory = await openAt(path);
    const { unit } = agentOf(1, "its module", "its manifest");
    using _held = directory.holdBlobs(digestOfText("half way"));
    await put(directory, "its module", "its manifest", "half way");
    await directory.commit(unit);
    await directory.collectBlobs();
    expect(kept(directory, "half way")).toEqual(["half way"]);
    await directory.close();
    const reopened = await openAt(path);
    await reopened.collectBlobs();
    expect(kept(reopened, "its module", "its manifest", "half way")).toEqual(["its module", "its manifest"]);
  });
});
