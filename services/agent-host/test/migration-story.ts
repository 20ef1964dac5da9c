// An agent that moves, without a sandbox: its ticks, its checkpoints and the registry that decides about it, for tests of
// what happens in between. The registry is `decide` itself on one record.

import { randomUUID } from "node:crypto";
import {
  type AuthorityRecord,
  type Command,
  type Decision,
  decide,
  type Facts,
  type SessionId,
  type SignedBytes,
} from "@godwit/common/lease";
import {
  type Checkpoint,
  createGenesis,
  digestOf,
  hostIdOf,
  issueToken,
  readToken,
  refOf,
  type Signer,
  signerFromSeed,
  writeCheckpoint,
} from "@godwit/lineage";
import type { OwnerAnswer, ReplayRecord, Resolution } from "@godwit/migration";
import { encodeEventLog } from "@godwit/sandbox";
import type { HistoryEvent } from "@godwit/testing";
import type { AgentDescription, ClaimResult, Frozen, HandoffName, SourceAgent } from "../src/migration/ports.ts";
import { next, walletOf } from "./storage-story.ts";

export interface StoryHost {
  readonly signer: Signer;
  readonly hostId: string;
  readonly bootId: string;
}

export function storyHost(byte: number): StoryHost & { readonly seed: Uint8Array } {
  const seed = new Uint8Array(32).fill(byte);
  const signer = signerFromSeed(seed);
  return { seed, signer, hostId: hostIdOf(signer.publicKey), bootId: `boot-${byte}` };
}

const incarnation = "incarnation-1";
export const registryKey = signerFromSeed(new Uint8Array(32).fill(200)).publicKey;

export interface AgentRecipe {
  readonly manifest?: string;
  readonly moduleBytes?: number;
  readonly stateBytes?: number;
  readonly nonce?: number;
}

export const plainManifest = JSON.stringify({
  capabilities: { clock: { version: 1 } },
  migration_policy: { enabled: true, max_price_per_second: 1_000 },
});

/** What an agent is, its record at the registry, and all that was ever ticked of it, wherever. */
export class Story {
  readonly agentId: string;
  readonly manifest: Uint8Array;
  readonly module: Uint8Array;
  readonly moduleDigest: string;
  readonly created: Checkpoint;
  readonly stateBytes: number;
  readonly history: HistoryEvent[] = [];
  record: AuthorityRecord;

  constructor(
    creator: StoryHost,
    { manifest = plainManifest, moduleBytes = 1_000, stateBytes = 64, nonce = 9 }: AgentRecipe = {},
  ) {
    this.manifest = new TextEncoder().encode(manifest);
    this.module = Uint8Array.from({ length: moduleBytes }, (_, index) => index % 253);
    this.moduleDigest = digestOf(this.module);
    this.stateBytes = stateBytes;
    const manifestDigest = digestOf(this.manifest);
    const identity = { moduleDigest: this.moduleDigest, manifestDigest };
    const genesis = createGenesis({
      ...identity,
      creatorHostId: creator.hostId,
      incarnation,
      nonce: new Uint8Array(16).fill(nonce),
      recoveryPolicy: "latest",
      name: "survivor",
    });
    this.agentId = genesis.agentId;
    this.created = writeCheckpoint(
      {
        ...identity,
        agentId: genesis.agentId,
        era: 0n,
        major: 0n,
        generation: 0n,
        tick: 0n,
        previous: undefined,
        base: undefined,
        budget: 1_000_000_000n,
        pricePerSecond: 1_000n,
        remainder: 0n,
        receipts: [],
        fundingIds: [],
        grant: undefined,
        genesis: genesis.bytes,
        origin: "created",
        rolledBackFromTick: undefined,
        writtenAtNs: 1n,
      },
      this.stateAt(0n),
      creator.signer,
    );
    const acquired = decide(
      undefined,
      {
        kind: "acquire",
        id: randomUUID(),
        incarnation,
        agentId: this.agentId,
        caller: sessionOf(creator),
        genesis: { creatorHostId: creator.hostId, incarnation, recoveryPolicy: "latest", name: "survivor" },
        head: refOf(this.created),
      },
      facts(),
    );
    if (acquired.kind !== "applied") throw new Error("not acquired");
    this.record = acquired.record;
  }

  stateAt(tick: bigint): Uint8Array {
    return new TextEncoder().encode(`${tick}`.padStart(this.stateBytes, "."));
  }

  /** One command, on the record as it is. */
  command(command: Command, more: Partial<Facts> = {}): Decision {
    const decision = decide(this.record, command, { ...facts(), ...more });
    if (decision.kind !== "refused") this.record = decision.record;
    return decision;
  }

  claim(host: StoryHost, commandId: string, signed: SignedBytes): ClaimResult {
    const owner = this.record.owner?.hostId ?? "";
    let token: ReturnType<typeof readToken> | undefined;
    try {
      token = readToken(signed, owner);
    } catch {
      token = undefined;
    }
    const session = sessionOf(host);
    const claimed = token ?? {
      agentId: this.agentId,
      handoffId: "none",
      targetHostId: host.hostId,
      era: 0n,
      major: 0n,
      checkpointDigest: "",
      tick: 0n,
    };
    const decision = this.command(
      { kind: "claim", id: commandId, incarnation, agentId: this.agentId, caller: session, token: claimed },
      { tokenSignedByOwner: token !== undefined },
    );
    if (decision.kind === "refused") return { kind: "refused", record: decision.record, session };
    return { kind: "granted", record: decision.record };
  }
}

/** Where a call of an agent may be held up or fail, for one test. */
export interface AgentKnobs {
  beforeFreeze?: () => Promise<void>;
  begin?: "lost" | "lost-after";
  relinquish?: "fails";
  module?: "fails";
  /** What is said instead of what was recorded: before PREPARED, and after the freeze. */
  record?: (honest: ReplayRecord) => ReplayRecord;
  tail?: (honest: ReplayRecord) => ReplayRecord;
  beforeResolve?: (signal: AbortSignal) => Promise<void>;
}

/** An agent that one host runs: what its supervisor would be. */
export class StoryAgent implements SourceAgent {
  readonly story: Story;
  readonly host: StoryHost;
  readonly knobs: AgentKnobs = {};
  /** What it did that nobody may do. */
  readonly offences: string[] = [];
  status: "ticking" | "frozen" | "relinquished" | "retired" = "ticking";
  major: bigint;
  tick: bigint;
  latest: Checkpoint;
  retiredTo: string | undefined;
  readonly #spine: SignedBytes[];
  #origin: "migrated" | "recovered" = "migrated";

  /** From a checkpoint and the spine below it; under `major`, which the registry has granted. */
  constructor(
    story: Story,
    host: StoryHost,
    from: { readonly checkpoint: Checkpoint; readonly below: readonly SignedBytes[]; readonly major: bigint },
  ) {
    this.story = story;
    this.host = host;
    this.latest = from.checkpoint;
    this.tick = from.checkpoint.header.tick;
    this.major = from.major;
    this.#spine = [from.checkpoint.signed, ...from.below];
  }

  static create(story: Story, host: StoryHost): StoryAgent {
    const agent = new StoryAgent(story, host, { checkpoint: story.created, below: [], major: 0n });
    agent.doTick();
    return agent;
  }

  get agentId(): string {
    return this.story.agentId;
  }

  doTick(): void {
    if (this.status !== "ticking") this.offences.push(`ticked while ${this.status}`);
    this.tick++;
    const { agentId, history } = this.story;
    history.push({ kind: "committed", agentId, hostId: this.host.hostId, era: 0n, major: this.major, tick: this.tick });
  }

  describe(): AgentDescription {
    const { manifest, moduleDigest, module, stateBytes } = this.story;
    return {
      era: 0n,
      major: this.major,
      name: "survivor",
      tick: this.tick,
      manifest,
      moduleDigest,
      moduleBytes: module.length,
      stateBytes,
      budget: this.latest.header.budget,
    };
  }

  manifest(): Uint8Array {
    return this.story.manifest;
  }

  async module(): Promise<Uint8Array> {
    if (this.knobs.module === "fails") throw new Error("no such file");
    return this.story.module;
  }

  async spine(): Promise<readonly SignedBytes[]> {
    return this.#spine;
  }

  receipts(): readonly Uint8Array[] {
    return walletOf(this.latest);
  }

  /** From its newest checkpoint but one to a new one, as a host does. */
  async replayRecord(): Promise<ReplayRecord> {
    const from = this.latest;
    const log = this.#checkpoint();
    const honest: ReplayRecord =
      log === undefined
        ? { headers: [from.signed], state: from.state, eventLogs: [] }
        : { headers: [from.signed, this.latest.signed], state: from.state, eventLogs: [log] };
    return this.knobs.record?.(honest) ?? honest;
  }

  /** Of the ticks since the newest one; undefined when there were none. */
  #checkpoint(): Uint8Array | undefined {
    const ticks = this.tick - this.latest.header.tick;
    if (ticks === 0n) return undefined;
    const log = encodeEventLog(
      Array.from({ length: Number(ticks) }, (_, index) => {
        return { tick: this.latest.header.tick + BigInt(index) + 1n, events: new Uint8Array(0) };
      }),
    );
    this.latest = next(this.latest, {
      host: this.host,
      term: { era: 0n, major: this.major },
      ticks,
      text: new TextDecoder().decode(this.story.stateAt(this.tick)),
      ...(this.latest.header.major === this.major ? {} : { origin: this.#origin }),
      header: { eventsDigest: digestOf(log) },
    });
    return log;
  }

  async freeze(_handoffId: string): Promise<Frozen> {
    await this.knobs.beforeFreeze?.();
    this.doTick();
    const stoppedAtMs = performance.now();
    const log = this.#checkpoint();
    this.status = "frozen";
    const honest: ReplayRecord = { headers: [], state: new Uint8Array(0), eventLogs: log === undefined ? [] : [log] };
    return {
      checkpoint: this.latest,
      receipts: walletOf(this.latest),
      stoppedAtMs,
      replayTail: this.knobs.tail?.(honest) ?? honest,
    };
  }

  async begin({ handoffId, targetHostId }: HandoffName): Promise<OwnerAnswer> {
    if (this.knobs.begin === "lost") return { kind: "unknown" };
    const answer = this.#owner({ kind: "begin_handoff", handoffId, targetHostId, head: refOf(this.latest) });
    return this.knobs.begin === "lost-after" ? { kind: "unknown" } : answer;
  }

  async relinquish({ handoffId, targetHostId }: HandoffName): Promise<SignedBytes> {
    this.status = "relinquished";
    if (this.knobs.relinquish === "fails") throw new Error("no space");
    const { digest, header } = this.latest;
    const { agentId } = this.story;
    const { era, major, tick } = header;
    return issueToken(
      { agentId, era, major, handoffId, targetHostId, checkpointDigest: digest, tick },
      this.host.signer,
    );
  }

  async revert(): Promise<OwnerAnswer> {
    if (this.status === "relinquished") this.offences.push("reverted after it was relinquished");
    return this.#owner({ kind: "revert_handoff" });
  }

  thaw(): void {
    if (this.status === "relinquished") this.offences.push("thawed after it was relinquished");
    if (this.status !== "frozen") return;
    this.status = "ticking";
    this.doTick();
  }

  async resolve(signal: AbortSignal): Promise<Resolution> {
    await this.knobs.beforeResolve?.(signal);
    signal.throwIfAborted();
    const { owner, major } = this.story.record;
    if (owner !== undefined && owner.hostId !== this.host.hostId) {
      return { kind: "moved", hostId: owner.hostId, era: 0n, major };
    }
    const answer = this.#owner({ kind: "recover", head: refOf(this.latest) });
    if (answer.kind !== "applied") throw new Error("not recovered");
    this.major = this.story.record.major;
    this.#spine.unshift(this.latest.signed);
    this.#origin = "recovered";
    this.status = "frozen";
    return { kind: "recovered", era: 0n, major: this.major };
  }

  async retire({ ownerHostId }: { readonly ownerHostId: string }): Promise<void> {
    this.status = "retired";
    this.retiredTo = ownerHostId;
  }

  #owner(
    command:
      | { kind: "begin_handoff"; handoffId: string; targetHostId: string; head: ReturnType<typeof refOf> }
      | { kind: "revert_handoff" }
      | { kind: "recover"; head: ReturnType<typeof refOf> },
  ): OwnerAnswer {
    const { agentId, record } = this.story;
    const caller = sessionOf(this.host);
    const { revision } = record;
    const decision = this.story.command({ ...command, id: randomUUID(), incarnation, agentId, caller, revision });
    return decision.kind === "refused" ? { kind: "refused", code: decision.code } : { kind: "applied" };
  }
}

export function sessionOf({ hostId, bootId }: StoryHost): SessionId {
  return { hostId, bootId };
}

function facts(): Facts {
  return {
    mark: { incarnation, counter: 0n, quarantine: false },
    caller: "open",
    ownerVoid: false,
    announced: [],
    genesisMatches: true,
    tokenSignedByOwner: true,
  };
}
