// kill -9 of the registry at each moment of each command: before it is stored, after, and before the caller hears of it. It
// comes back on the same Redis, so nothing is forgotten, and whoever asked has to find out what became of what he asked.

import { randomUUID } from "node:crypto";
import { fromProtoSigned, type Header, readHeader, toProtoSigned } from "@godwit/lineage";
import { RefusalCode } from "@godwit/proto/godwit/registry/v1/authority";
import { REGISTRY_CRASH_POINTS, type RegistryCrashPoint } from "@godwit/registry/parts";
import { waitFor } from "@godwit/testing";
import { BenchHost } from "../bench/bench-host.ts";
import { type Outcome, outcomeOf, type Settled } from "./judge.ts";
import { type Company, isStopped, type ProcessHost } from "./processes.ts";

/** All but those of `reassert`, which need a store that forgot. */
export function registryPoints(share: "all" | "bounded"): readonly RegistryCrashPoint[] {
  const ofMigration = ["begin.", "claim.", "report."];
  return REGISTRY_CRASH_POINTS.filter((point) =>
    share === "all" ? !point.startsWith("reassert.") : ofMigration.some((command) => point.startsWith(command)),
  );
}

interface Crashed {
  readonly outcome: Outcome;
  /** The agent to go on with. */
  readonly agentId: string;
}

type Before = Settled<ProcessHost>;

const maxTries = 5;

export class RegistryCrashes {
  readonly #company: Company;
  readonly #signal: AbortSignal;

  constructor(company: Company, signal: AbortSignal) {
    this.#company = company;
    this.#signal = signal;
  }

  /** Throws when the point was not reached, or what has to hold does not. */
  async crash(point: RegistryCrashPoint, agentId: string): Promise<Crashed> {
    for (let tries = 0; tries < maxTries; tries++) {
      const before = await this.#company.settle(agentId);
      const crashed = await this.#once(point, agentId, before);
      if (crashed !== undefined) return crashed;
    }
    throw new Error(`the point was not reached in ${maxTries} tries`);
  }

  async #once(point: RegistryCrashPoint, agentId: string, before: Before): Promise<Crashed | undefined> {
    const [command] = point.split(".");
    switch (command) {
      case "acquire":
        return await this.#acquire(point, agentId);
      case "revert":
        return await this.#revert(point, agentId, before);
      case "recover":
        return await this.#recover(point, agentId, before);
      case "release":
        return await this.#release(point, agentId, before);
      case "terminate":
        return await this.#terminate(point, agentId, before);
      case "force":
        return await this.#force(point, agentId, before);
      case "declare":
        return await this.#declare(point, agentId);
      default:
        // begin and claim belong to a migration; an owner that ticks reports by itself.
        return await this.#moving(point, agentId, before);
    }
  }

  async #moving(point: RegistryCrashPoint, agentId: string, before: Before): Promise<Crashed | undefined> {
    const died = await this.#dies(point, () => this.#company.move(before.owner, agentId));
    return died ? await this.#settled(agentId, before) : undefined;
  }

  /** The source finds its target gone while it asks: begun, it has to revert. */
  async #revert(point: RegistryCrashPoint, agentId: string, before: Before): Promise<Crashed | undefined> {
    const source = before.owner;
    const target = this.#company.other(source);
    await source.node.armCrashPoint({ point: "source.before-begin", action: "stop" });
    const moving = this.#company.move(source, agentId);
    const stands = await this.#company.comes("the source stands before begin_handoff", () =>
      isStopped(source.node.pid),
    );
    const died = await this.#dies(point, async () => {
      await target.node.kill();
      source.node.resume();
    });
    await target.node.restart();
    await moving;
    return stands && died ? await this.#settled(agentId, before) : undefined;
  }

  async #recover(point: RegistryCrashPoint, agentId: string, before: Before): Promise<Crashed | undefined> {
    const died = await this.#dies(point, async () => {
      await before.owner.node.kill();
      await before.owner.node.start();
    });
    await before.owner.node.start();
    return died ? await this.#settled(agentId, before) : undefined;
  }

  async #acquire(point: RegistryCrashPoint, agentId: string): Promise<Crashed | undefined> {
    const [host] = this.#company.hosts;
    const name = this.#company.newName();
    if (!(await this.#dies(point, () => this.#company.run(host, name).catch(() => {})))) return undefined;
    const known = await this.#registered(name);
    // Whoever was told nothing may have an agent all the same; then it runs, once.
    const held = (await host.host.listAgents({ includeReplicas: true })).agents.find((agent) => agent.name === name);
    if (known === undefined && held === undefined) return { outcome: "reverted", agentId };
    await this.#company.settle(held?.agentId ?? known ?? "");
    return { outcome: "done", agentId };
  }

  async #release(point: RegistryCrashPoint, agentId: string, { owner }: Before): Promise<Crashed | undefined> {
    const died = await this.#dies(point, () => owner.host.stopAgent({ agentId }).catch(() => {}));
    await this.#retired(owner, agentId);
    await this.#recovered(owner, agentId);
    await this.#company.settle(agentId);
    return died ? { outcome: "done", agentId } : undefined;
  }

  async #terminate(point: RegistryCrashPoint, agentId: string, { owner }: Before): Promise<Crashed | undefined> {
    const stop = () => owner.host.stopAgent({ agentId, delete: true }).catch(() => {});
    const died = await this.#dies(point, stop);
    await waitFor(
      async (signal) => {
        const { record } = await this.#company.registry.authority.getAgent({ agentId }, { signal });
        if (record?.terminated === undefined) await stop();
        const seen = await Promise.all(this.#company.hosts.map((host) => host.agent(agentId, signal)));
        return record?.terminated !== undefined && seen.every((status) => status?.state !== "ACTIVE_OWNER");
      },
      { what: `${agentId.slice(0, 8)} is gone for good`, timeoutMs: 90_000, signal: this.#signal },
    );
    const next = await this.#company.run(owner, this.#company.newName());
    return died ? { outcome: "done", agentId: next } : undefined;
  }

  /** An operator's choice of the newest checkpoint of an agent that was stopped, asked again with the same id. */
  async #force(point: RegistryCrashPoint, agentId: string, { owner }: Before): Promise<Crashed | undefined> {
    const { authority, sessions } = this.#company.registry;
    await owner.host.stopAgent({ agentId });
    await this.#retired(owner, agentId);
    const { record } = await authority.getAgent({ agentId });
    const { mark } = await sessions.describeRegistry({});
    const [head, ...spine] = await this.#spine(owner, agentId);
    const request = {
      incarnation: record?.incarnation ?? "",
      commandId: randomUUID(),
      agentId,
      revision: record?.revision ?? 0n,
      head,
      spine,
      operator: "faults",
      reason: "a test",
      noneAcceptable: true,
    };
    if (head === undefined || mark === undefined) throw new Error("there is nothing to choose");
    const died = await this.#dies(point, () => authority.forceRecover(request).catch(() => {}));
    const answer = await waitFor((signal) => this.#company.registry.authority.forceRecover(request, { signal }), {
      what: "the choice is answered",
      signal: this.#signal,
    });
    if (answer.refusal !== RefusalCode.UNSPECIFIED)
      throw new Error(`the repeated choice was refused: ${answer.message}`);
    if (answer.record?.major !== (record?.major ?? 0n) + 1n) throw new Error("the choice was made twice");
    await this.#recovered(owner, agentId);
    await this.#company.settle(agentId);
    return died ? { outcome: "done", agentId } : undefined;
  }

  /** No host of ours sends it, so one that does nothing else asks. */
  async #declare(point: RegistryCrashPoint, agentId: string): Promise<Crashed | undefined> {
    const host = await BenchHost.open(this.#company.registry);
    const record = await host.acquire();
    const commandId = randomUUID();
    const died = await this.#dies(point, () => host.declare(record, commandId).catch(() => {}));
    const answer = await waitFor(() => host.declare(record, commandId), {
      what: "the declaration is answered",
      signal: this.#signal,
    });
    if (!answer.declared || answer.major !== record.major) throw new Error("it was not declared, once");
    return died ? { outcome: "done", agentId } : undefined;
  }

  /** Does `act` with the point armed, and brings the registry back. False when the point was not reached. */
  async #dies(point: RegistryCrashPoint, act: () => Promise<unknown>): Promise<boolean> {
    const { registry } = this.#company;
    await registry.armCrashPoint({ point });
    const acting = act();
    const died = await this.#company.comes(`${point} is reached`, () => registry.pid === undefined);
    await registry.restart();
    await acting;
    return died;
  }

  async #settled(agentId: string, before: Before): Promise<Crashed> {
    const after = await this.#company.settle(agentId);
    return { outcome: outcomeOf({ owner: before.owner, major: before.status.major }, after), agentId };
  }

  async #registered(name: string): Promise<string | undefined> {
    const { records } = await this.#company.registry.authority.listAgents({});
    return records.find((record) => record.name === name)?.agentId;
  }

  async #retired(owner: ProcessHost, agentId: string): Promise<void> {
    await waitFor(
      async (signal) => {
        const status = await owner.agent(agentId, signal);
        if (status?.state === "ACTIVE_OWNER") await owner.host.stopAgent({ agentId }, { signal });
        return status?.state === "RETIRED";
      },
      { what: `${agentId.slice(0, 8)} is stopped`, timeoutMs: 90_000, signal: this.#signal },
    );
  }

  async #recovered(owner: ProcessHost, agentId: string): Promise<void> {
    await waitFor((signal) => owner.host.recoverAgent({ agentId }, { signal }).then(() => true), {
      what: `${agentId.slice(0, 8)} is taken up again`,
      timeoutMs: 90_000,
      signal: this.#signal,
    });
  }

  /** The newest header, and those under it, base by base. */
  async #spine(owner: ProcessHost, agentId: string) {
    const held: { readonly header: Header; readonly signed: ReturnType<typeof toProtoSigned> }[] = [];
    for await (const { header } of owner.host.getLineage({ agentId })) {
      if (header === undefined) continue;
      const signed = fromProtoSigned(header);
      held.push({ header: readHeader(signed.payload), signed: toProtoSigned(signed) });
    }
    const spine: ReturnType<typeof toProtoSigned>[] = [];
    let next = held.at(0);
    while (next !== undefined) {
      spine.push(next.signed);
      const { base } = next.header;
      next = held.find(({ header }) => base !== undefined && header.major === base.major && header.tick === base.tick);
    }
    return spine;
  }
}
