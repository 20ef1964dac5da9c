// Offers agents that nobody runs to hosts that could (§8).
//
// - An agent is offered when its owner's session is void, or when it was released to be taken up; never when it waits to
//   be asked (stopped, failed, unfunded).
// - Every replica offers over its own streams. The newest holder is offered the agent at once, the next one a while later,
//   and so on: so a holder that is deaf, or connected to another replica that just died, blocks nothing.
// - An offer is no grant: `recover` decides, and the first one wins. Offering twice is harmless, and so is losing an offer:
//   a slow scan over what is to be offered finds whatever was interrupted.
// - At most so many agents a second, so that the death of a large host does not bury the others.

import type { Clock } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import type { SessionId } from "@godwit/common/lease";
import type { Logger } from "pino";
import { decodeRecord, type KnownRecord } from "../authority/record-codec.ts";
import type { Directory } from "../directory/directory.ts";
import type { Mark } from "../mark/mark.ts";
import type { MarkKeeper } from "../mark/mark-keeper.ts";
import type { RegistryMetrics } from "../metrics.ts";
import { authenticate, type Caller } from "../sessions/caller.ts";
import { isVoid } from "../sessions/void.ts";
import type { AuthorityStore, SessionStore } from "../store/registry-store.ts";
import { LossSweep } from "./loss-sweep.ts";
import { OfferQueue, type Waiting } from "./offer-queue.ts";
import { OfferStream } from "./offer-stream.ts";
import { isOfferable, rankHolders } from "./ranking.ts";

export interface OffersParts {
  readonly store: AuthorityStore & SessionStore;
  readonly keeper: MarkKeeper;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RegistryMetrics;
}

export interface OfferRules {
  /** Agents offered in a second, by this replica. */
  readonly perSecond: number;
  /** From one holder to the next. */
  readonly nextHolderAfterMs: number;
  readonly scanEveryMs: number;
}

const STEP_MS = 50;
const SCAN_PAGE = 500;
const MAX_WAITING = 100_000;

export class Offers {
  readonly #parts: OffersParts;
  readonly #rules: OfferRules;
  readonly #streams = new Map<string, OfferStream>();
  readonly #queue = new OfferQueue(MAX_WAITING);
  readonly #sweep: LossSweep;
  /** Sessions whose agents are to be looked up. */
  readonly #closed: SessionId[] = [];

  constructor(parts: OffersParts, rules: OfferRules) {
    this.#parts = parts;
    this.#rules = rules;
    this.#sweep = new LossSweep(parts, { delayMs: rules.scanEveryMs });
  }

  /** A session was closed, by whomever: its agents are offered as soon as possible. */
  sessionClosed(session: SessionId): void {
    this.#closed.push(session);
    this.#streams.get(nameOf(session))?.end(new Fault({ code: "SESSION_VOID", hostId: session.hostId }));
  }

  /** How many holders listen here. */
  get listening(): number {
    return this.#streams.size;
  }

  agentReleased(agentId: string): void {
    this.#queue.add(agentId, this.#parts.clock.monotonicMs());
  }

  /** Throws the faults of `authenticate`, and SESSION_VOID when the session ends. A second call ends the first one's stream. */
  async *watch(
    request: { readonly caller: Caller; readonly incarnation: string },
    signal: AbortSignal,
  ): AsyncGenerator<KnownRecord> {
    const { keeper, store, metrics } = this.#parts;
    const { session } = request.caller;
    await keeper.under(({ mark }) => authenticate(store, mark, request));
    const name = nameOf(session);
    const stream = new OfferStream(session);
    this.#streams
      .get(name)
      ?.end(new Fault({ code: "CANCELLED", what: "this stream of offers, which another replaced," }));
    this.#streams.set(name, stream);
    metrics.offerStreams.set(this.#streams.size);
    try {
      yield* stream.read(signal);
    } finally {
      if (this.#streams.get(name) === stream) this.#streams.delete(name);
      metrics.offerStreams.set(this.#streams.size);
    }
  }

  /** Offers until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, keeper } = this.#parts;
    let scanAtMs = clock.monotonicMs() + this.#rules.scanEveryMs;
    // What may be offered in a step; fractions add up, so that slow rates are kept too.
    let allowance = 0;
    while (!signal.aborted) {
      await clock.sleep(STEP_MS, signal).catch(() => {});
      if (signal.aborted || keeper.trouble() !== undefined) continue;
      try {
        await this.#findAgentsOfClosed();
        await this.#findUnconfirmed();
        if (clock.monotonicMs() >= scanAtMs) {
          scanAtMs = clock.monotonicMs() + this.#rules.scanEveryMs;
          await this.#scan();
        }
        allowance = Math.min(allowance + (this.#rules.perSecond * STEP_MS) / 1_000, Math.max(1, this.#rules.perSecond));
        const due = this.#queue.takeDue(clock.monotonicMs(), Math.floor(allowance));
        allowance -= due.length;
        if (due.length > 0) await this.#offerAll(due);
      } catch (error) {
        // What was taken out is found again by the next scan.
        if (isFault(error)) logger.debug({ reason: error.message }, "offers interrupted");
        else logger.error({ err: error }, "offers interrupted");
      }
      this.#parts.metrics.offersWaiting.set(this.#queue.size);
    }
  }

  async #findAgentsOfClosed(): Promise<void> {
    const { store, keeper } = this.#parts;
    for (const session of this.#closed.splice(0)) {
      await this.#pages((after) =>
        keeper.under(({ mark }) => store.findAgentsOfSession(mark.bytes, session, { after, limit: SCAN_PAGE })),
      );
    }
  }

  async #findUnconfirmed(): Promise<void> {
    if (this.#streams.size === 0) return; // nobody here to offer anything to
    for await (const agentIds of this.#sweep.due()) {
      const nowMs = this.#parts.clock.monotonicMs();
      for (const agentId of agentIds) this.#queue.add(agentId, nowMs);
    }
  }

  async #scan(): Promise<void> {
    const { store, keeper } = this.#parts;
    if (this.#streams.size === 0) return; // nobody here to offer anything to
    await this.#pages((after) =>
      keeper.under(({ mark }) => store.findAgentsToOffer(mark.bytes, { after, limit: SCAN_PAGE })),
    );
  }

  async #pages(read: (after: string | undefined) => Promise<readonly string[]>): Promise<void> {
    let after: string | undefined;
    do {
      const agentIds = await read(after);
      const nowMs = this.#parts.clock.monotonicMs();
      for (const agentId of agentIds) this.#queue.add(agentId, nowMs);
      after = agentIds.length === SCAN_PAGE ? agentIds.at(-1) : undefined;
    } while (after !== undefined);
  }

  async #offerAll(due: readonly Waiting[]): Promise<void> {
    const { store, keeper, directory } = this.#parts;
    const draining = await directory.draining();
    await keeper.under(async ({ mark }) => {
      const read = await store.readAgents(mark.bytes, {
        agentIds: due.map(({ agentId }) => agentId),
        withHolders: true,
      });
      const found = due.flatMap((waiting, at) => {
        const agent = read.agents[at];
        return agent?.record === undefined ? [] : [{ waiting, known: decodeRecord(agent.record), ...agent }];
      });
      const voidOwners = await this.#voidOwners(mark, found);
      for (const { waiting, known, holders } of found) {
        const { owner } = known.record;
        const ownerVoid = owner === undefined || voidOwners.has(nameOf(owner));
        if (!isOfferable(known.record, { ownerVoid, mark })) continue;
        this.#offer(waiting, known, rankHolders(known.record, holders, { draining, mark }));
      }
    });
  }

  async #voidOwners(mark: Mark, found: readonly { readonly known: KnownRecord }[]): Promise<ReadonlySet<string>> {
    const owners = new Map<string, SessionId>();
    for (const { known } of found) {
      const { owner } = known.record;
      if (owner !== undefined) owners.set(nameOf(owner), owner);
    }
    const ids = [...owners.values()];
    const sessions = await this.#parts.store.readSessions(mark.bytes, ids);
    return new Set(ids.filter((_, at) => isVoid(sessions[at], mark.incarnation)).map(nameOf));
  }

  #offer(waiting: Waiting, known: KnownRecord, holders: readonly { readonly session: SessionId }[]): void {
    const { metrics, logger, clock } = this.#parts;
    const holder = holders[waiting.rank];
    if (holder === undefined) return;
    const stream = this.#streams.get(nameOf(holder.session));
    if (stream?.push(known) === true) {
      metrics.offers.inc();
      logger.info(
        { agentId: known.record.agentId, hostId: holder.session.hostId, rank: waiting.rank },
        "agent offered",
      );
    }
    const rank = waiting.rank + 1;
    if (rank >= holders.length) return;
    this.#queue.postpone({ ...waiting, rank, dueMs: clock.monotonicMs() + this.#rules.nextHolderAfterMs });
  }
}

function nameOf({ hostId, bootId }: SessionId): string {
  return `${hostId}/${bootId}`;
}
