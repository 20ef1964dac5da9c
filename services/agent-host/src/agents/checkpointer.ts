// What an agent has come to where it stands, and the checkpoints that are made of it (architecture.md, "A checkpoint"). Whether this host
// may, its supervisor asks right before each of these calls: nothing here knows of a lease.
//
// EI-3   A checkpoint names the newest one that is on the disk.
// §2     At most one for a major and tick: what exists for a tick is used again.
// I6     Every tick that counts is charged, and its receipt goes to the disk with its state.

import type { Clock } from "@godwit/common/clock";
import { type Checkpoint, digestOf, encodeReceipt, MAX_WALLET_RECEIPTS, refOf, type Signer } from "@godwit/lineage";
import type { DataDirectory } from "../storage/index.ts";
import { nextCheckpoint } from "./checkpoints.ts";
import { type Funded, type Funding, isFundingPending, takeIn } from "./funding.ts";
import { charge, exhaust, type Purse, type TickCharge } from "./purse.ts";
import { ReplayWindow } from "./replay-window.ts";
import type { Shown } from "./shown.ts";
import type { AgentIdentity, HostSession, SupervisorRules } from "./supervisor-parts.ts";
import type { Ground } from "./tenancy.ts";

/** Receipts that one checkpoint can carry; a price that changes more often makes a checkpoint (lineage, MAX_RECEIPTS). */
const maxReceiptsBetween = 12;

export interface CheckpointerParts {
  readonly storage: DataDirectory;
  readonly signer: Signer;
  readonly hostId: string;
  readonly keeper: Pick<HostSession, "generation">;
  readonly clock: Clock;
  /** Microcents a second, as it is now. */
  readonly price: () => bigint;
  /** Registry and holders hear of it. */
  readonly onCommitted: (agentId: string, checkpoint: Checkpoint) => void;
}

export interface CommitOptions {
  readonly tellOthers: boolean;
  /** For others, to be written together with them. */
  readonly canWait: boolean;
}

export class Checkpointer {
  readonly #parts: CheckpointerParts;
  readonly #rules: Pick<SupervisorRules, "checkpointEveryMs" | "replayWindow">;
  readonly #identity: AgentIdentity;
  #state: Uint8Array = new Uint8Array(0);
  #tick = 0n;
  #purse: Purse = { budget: 0n, remainder: 0n, receipts: [] };
  #walletReceipts: readonly Uint8Array[] = [];
  #latest: Checkpoint | undefined;
  #window: ReplayWindow | undefined;
  /** Committed, and not told to registry and holders yet. */
  #untold: Checkpoint | undefined;
  #checkpointAtMs = 0;

  constructor(
    parts: CheckpointerParts,
    rules: Pick<SupervisorRules, "checkpointEveryMs" | "replayWindow">,
    identity: AgentIdentity,
  ) {
    this.#parts = parts;
    this.#rules = rules;
    this.#identity = identity;
  }

  get tick(): bigint {
    return this.#tick;
  }
  get budget(): bigint {
    return this.#purse.budget;
  }
  get state(): Uint8Array {
    return this.#state;
  }
  /** On the disk; undefined until it stands for the first time, like the window. */
  get latest(): Checkpoint | undefined {
    return this.#latest;
  }
  get window(): ReplayWindow | undefined {
    return this.#window;
  }
  /** Of its wallet, as of the newest checkpoint; encoded, newest last. */
  get receipts(): readonly Uint8Array[] {
    return this.#walletReceipts;
  }

  get shown(): Shown {
    const { tick, budget, state, latest } = this;
    return { tick, budget, stateBytes: BigInt(state.length), checkpoint: latest && refOf(latest) };
  }

  /** EI-2: it goes on from this checkpoint, and from nothing that came after it. */
  standAt(checkpoint: Checkpoint, receipts: readonly Uint8Array[]): void {
    this.#latest = checkpoint;
    this.#walletReceipts = receipts;
    this.#window = new ReplayWindow(this.#rules.replayWindow, checkpoint);
    this.#untold = undefined;
    this.#state = checkpoint.state;
    this.#tick = checkpoint.header.tick;
    this.#purse = { budget: checkpoint.header.budget, remainder: checkpoint.header.remainder, receipts: [] };
    this.#checkpointAtMs = this.#parts.clock.monotonicMs();
  }

  /** What it would have left after the next tick; `undefined`: that costs more than there is. */
  afterTick(cost: TickCost): Purse | undefined {
    return charge(this.#purse, this.#chargeOf(cost));
  }

  ticked({ state, events }: { readonly state: Uint8Array; readonly events: Uint8Array }, purse: Purse): void {
    this.#tick += 1n;
    this.#state = state;
    this.#purse = purse;
    this.#window?.ticked({ tick: this.#tick, events });
  }

  /** §11: takes a number of its own and all that is left; the state stays that of the tick before. */
  exhausted(cost: TickCost): void {
    this.#purse = exhaust(this.#purse, this.#chargeOf(cost));
    this.#tick += 1n;
  }

  /** §11: takes a number of its own, unless it was applied before. Throws Fault BUDGET_INVALID. */
  fund(funding: Funding): Funded {
    const latest = this.#latest;
    if (latest === undefined) throw new TypeError("nothing to go on from");
    const at = { hostId: this.#parts.hostId, tick: this.#tick + 1n, pricePerSecond: this.#parts.price() };
    const { purse, ...funded } = takeIn(funding, { latest, purse: this.#purse, wallet: this.#walletReceipts }, at);
    if (!funded.repeated) {
      this.#purse = purse;
      this.#tick = at.tick;
    }
    return funded;
  }

  /** A funding is in its purse and not on the disk yet. */
  get isFundingPending(): boolean {
    return isFundingPending(this.#purse);
  }

  get isDue(): boolean {
    const { checkpointEveryMs } = this.#rules;
    const dueAtMs = this.#checkpointAtMs + checkpointEveryMs;
    const isDue = this.#parts.clock.monotonicMs() >= dueAtMs || this.#purse.receipts.length >= maxReceiptsBetween;
    return isDue || this.#window?.isFull === true;
  }

  /** The checkpoint of the present tick: the one that there is, or a new one on this ground, durable when this resolves. */
  async commit(ground: Ground | undefined, { tellOthers, canWait }: CommitOptions): Promise<Checkpoint> {
    const previous = this.#latest;
    const window = this.#window;
    if (previous === undefined || ground === undefined || window === undefined)
      throw new TypeError("nothing to go on from");
    this.#checkpointAtMs = this.#parts.clock.monotonicMs();
    if (previous.header.tick === this.#tick) return previous; // §2: at most one for a major and tick
    const { signer, keeper, storage, clock } = this.#parts;
    const { agentId, moduleDigest, manifestDigest } = this.#identity;
    const log = window.openLog;
    const checkpoint = nextCheckpoint(
      {
        agentId,
        moduleDigest,
        manifestDigest,
        tick: this.#tick,
        state: this.#state,
        ...this.#purse,
        pricePerSecond: this.#purse.receipts.at(-1)?.pricePerSecond ?? this.#parts.price(),
        generation: keeper.generation,
        writtenAt: clock.now(),
        eventsDigest: digestOf(log),
      },
      { previous, ground, signer },
    );
    const receipts = checkpoint.header.receipts.map(encodeReceipt);
    const walletReceipts = [...this.#walletReceipts, ...receipts].slice(-MAX_WALLET_RECEIPTS);
    await storage.commit({ agentId, checkpoint, receipts: walletReceipts, pruneLater: !tellOthers, canWait });
    this.#latest = checkpoint;
    window.committed(checkpoint, log);
    this.#walletReceipts = walletReceipts;
    this.#purse = { ...this.#purse, receipts: [] };
    this.#untold = checkpoint;
    if (tellOthers) this.tellUntold();
    return checkpoint;
  }

  /** Registry and holders hear of the newest checkpoint, unless they have. */
  tellUntold(): void {
    const checkpoint = this.#untold;
    this.#untold = undefined;
    if (checkpoint !== undefined) this.#parts.onCommitted(this.#identity.agentId, checkpoint);
  }

  #chargeOf(cost: TickCost): TickCharge {
    return { hostId: this.#parts.hostId, tick: this.#tick + 1n, ...cost };
  }
}

type TickCost = Pick<TickCharge, "elapsedNs" | "pricePerSecond">;
