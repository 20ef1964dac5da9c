// Brings every committed checkpoint of the agents that run here to other hosts (§8).
//
// 1. Only the newest checkpoint of an agent matters: what a newer one overtook is never sent, and to each host goes one push
//    of an agent at a time.
// 2. A host counts as a holder only when it named the very checkpoint (GH-8).
// 3. A host that fails is tried once more; then another keeps the copy, and the failed one is left alone for longer and
//    longer (GH-6). One that refuses an agent is left alone with that agent only.
// 4. What is replicated never holds up a tick: `committed` only takes note.

import { type Clock, deadlineSignal, type Random, withDeadline } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import { compareCheckpoints, type SignedBytes } from "@godwit/common/lease";
import { failureOf } from "@godwit/common/retry";
import { type Checkpoint, refOf } from "@godwit/lineage";
import type { Logger } from "pino";
import { asError, FramedStream, type StreamOpener } from "../p2p/index.ts";
import { Avoidance } from "./avoidance.ts";
import { type Copies, copiesOf, type Holder, holdersOf, isSettled, noteHeld } from "./copies.ts";
import { placeCopies } from "./placement.ts";
import type { ReplicaTarget, ReplicaTargets, ReplicationSource } from "./ports.ts";
import { REPLICATE_PROTOCOL } from "./protocol.ts";
import { type Conversation, fetched, type PushOutcome, pushReplica, SourceFailure } from "./push.ts";
import type { ReplicatorRules } from "./replicator-rules.ts";
import { Slots } from "./slots.ts";
import { TerminationNotices } from "./termination-notices.ts";

export interface ReplicatorParts {
  readonly streams: StreamOpener;
  readonly source: ReplicationSource;
  readonly targets: ReplicaTargets;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** For counting. */
  readonly onPush: (outcome: PushOutcome["kind"] | "failed") => void;
}

export class Replicator {
  readonly #parts: ReplicatorParts;
  readonly #rules: ReplicatorRules;
  readonly #agents = new Map<string, Copies>();
  readonly #avoided: Avoidance;
  readonly #notices: TerminationNotices;
  readonly #slots: Slots;
  readonly #slotsOf = new Map<string, Slots>();
  readonly #unplaced = new Set<string>();
  readonly #pushes = new Set<Promise<void>>();
  #hosts = new Map<string, ReplicaTarget>();
  #running: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: ReplicatorParts, rules: ReplicatorRules) {
    this.#parts = parts;
    this.#rules = rules;
    this.#avoided = new Avoidance(parts, rules.avoidance);
    this.#slots = new Slots(rules.maxPushes);
    this.#notices = new TerminationNotices(
      { ...parts, addressOf: (hostId) => this.#hosts.get(hostId), converse: this.#converse.bind(this) },
      { forMs: rules.terminationMs, firstMs: rules.avoidance.firstMs, longestMs: rules.avoidance.longestMs },
    );
  }

  /** `checkpoint` is on this host's disk, and what the source says of receipts is as of it. Neither waits nor throws. */
  committed(agentId: string, checkpoint: Checkpoint): void {
    if (this.#rules.replicas === 0) return;
    const ref = refOf(checkpoint);
    const known = this.#agents.get(agentId);
    if (known !== undefined) {
      known.leftAtMs = undefined;
      if (compareCheckpoints(known.newest.ref, ref) >= 0) return;
    }
    const newest = { checkpoint, ref, receipts: this.#parts.source.receipts(agentId) };
    if (known !== undefined) known.newest = newest;
    else this.#agents.set(agentId, copiesOf(agentId, newest));
    this.#arrange(agentId);
  }

  /** The agent does not run here any more. Its last checkpoint is still brought to where it should be, if that works soon. */
  left(agentId: string): void {
    const copies = this.#agents.get(agentId);
    if (copies === undefined) return;
    copies.leftAtMs = this.#parts.clock.monotonicMs();
    this.#arrange(agentId);
  }

  /** The registry's statement goes to all hosts that are known to hold the agent, for as long as the rules say. */
  terminated(agentId: string, termination: SignedBytes): void {
    const copies = this.#agents.get(agentId);
    if (copies === undefined) return;
    this.#agents.delete(agentId);
    this.#unplaced.delete(agentId);
    copies.termination = termination;
    this.#tellTermination(copies);
  }

  /** Who has acknowledged which checkpoint, newest acknowledgement first. */
  holders(agentId: string): readonly Holder[] {
    return holdersOf(this.#agents.get(agentId));
  }

  async start(): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    this.#notices.start();
    for (const agentId of this.#agents.keys()) this.#unplaced.add(agentId);
    this.#loop = this.#run(running.signal);
  }

  /** What was committed last may be what another host recovers from: it gets a moment to arrive. */
  async stop(): Promise<void> {
    const { clock } = this.#parts;
    const { flushMs: ms } = this.#rules;
    const signal = new AbortController().signal;
    await withDeadline(clock, { what: "replicas", ms, signal }, () => this.#idle()).catch(() => {});
    const running = this.#running;
    this.#running = undefined;
    running?.abort(new Fault({ code: "SHUTTING_DOWN" }));
    await this.#notices.stop();
    await Promise.all([this.#loop, ...this.#pushes]);
  }

  async #idle(): Promise<void> {
    while (this.#pushes.size > 0) await Promise.race(this.#pushes);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    const { lookEveryMs, hostsEveryMs } = this.#rules;
    let askedAtMs = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      if (clock.monotonicMs() - askedAtMs >= hostsEveryMs && this.#agents.size > 0) {
        askedAtMs = clock.monotonicMs();
        await this.#refreshHosts(signal);
      }
      for (const agentId of [...this.#unplaced]) this.#arrange(agentId);
      await clock.sleep(lookEveryMs, signal).catch(() => {});
    }
  }

  /** Without an answer the hosts of the last one are as good as any. */
  async #refreshHosts(signal: AbortSignal): Promise<void> {
    const { clock, targets, streams, logger } = this.#parts;
    const deadline = { what: "the hosts of the directory", ms: this.#rules.connectMs, signal };
    try {
      const found = await withDeadline(clock, deadline, (limited) => targets.hosts(limited));
      const hosts = new Map(found.filter(({ hostId }) => hostId !== streams.hostId).map((host) => [host.hostId, host]));
      this.#avoided.prune();
      const same = hosts.size === this.#hosts.size && [...hosts.keys()].every((hostId) => this.#hosts.has(hostId));
      this.#hosts = hosts;
      if (same) return;
      for (const agentId of this.#agents.keys()) this.#unplaced.add(agentId);
      for (const hostId of this.#slotsOf.keys()) if (!hosts.has(hostId)) this.#slotsOf.delete(hostId);
    } catch (err) {
      if (!signal.aborted) logger.debug({ err }, "directory not answered, hosts as before");
    }
  }

  /** Chooses who keeps copies, and sends what they lack. */
  #arrange(agentId: string): void {
    const copies = this.#agents.get(agentId);
    if (copies === undefined) {
      this.#unplaced.delete(agentId);
      return;
    }
    if (this.#running === undefined) return;
    if (this.#hosts.size === 0 && copies.leftAtMs === undefined) {
      this.#unplaced.add(agentId); // nobody is there to choose from: thousands of agents need not be asked twice a second
      return;
    }
    const { replicas } = this.#rules;
    copies.targets = placeCopies({
      agentId,
      replicas,
      chosen: copies.targets,
      hostIds: [...this.#hosts.keys()],
      isAvoided: (hostId) => this.#isGivenUp(copies, hostId),
    });
    const lacking = copies.targets.filter((hostId) => !isSettled(copies, hostId));
    for (const hostId of lacking) {
      const host = this.#hosts.get(hostId);
      if (host === undefined || copies.pushing.has(hostId) || this.#isResting(copies, hostId)) continue;
      this.#push(copies, host);
    }
    const placed = copies.targets.length === replicas && lacking.every((hostId) => copies.pushing.has(hostId));
    if (placed) this.#unplaced.delete(agentId);
    else this.#unplaced.add(agentId);
    if (copies.leftAtMs !== undefined) this.#forgetIfOver(copies, copies.leftAtMs, lacking);
  }

  #forgetIfOver(copies: Copies, leftAtMs: number, lacking: readonly string[]): void {
    const late = this.#parts.clock.monotonicMs() - leftAtMs > this.#rules.pushMs;
    const done = copies.targets.length === this.#rules.replicas && lacking.length === 0;
    if (copies.pushing.size > 0 || !(done || late)) {
      this.#unplaced.add(copies.agentId);
      return;
    }
    this.#agents.delete(copies.agentId);
    this.#unplaced.delete(copies.agentId);
  }

  /** Nothing is sent there now. */
  #isResting({ agentId }: Copies, hostId: string): boolean {
    const avoided = this.#avoided;
    return avoided.isAvoided(hostId) || avoided.isAvoided(pair(agentId, hostId)) || avoided.isAvoided(agentId);
  }

  /** Somebody else is to keep the copy. One failure may be a moment's, and another host would need the module first. */
  #isGivenUp(copies: Copies, hostId: string): boolean {
    const { agentId, targets } = copies;
    if (this.#avoided.isAvoided(pair(agentId, hostId))) return true;
    if (!this.#avoided.isAvoided(hostId)) return false;
    return !targets.includes(hostId) || this.#avoided.failures(hostId) > 1;
  }

  #push(copies: Copies, host: ReplicaTarget): void {
    const signal = this.#running?.signal;
    if (signal === undefined) return;
    const { hostId } = host;
    copies.pushing.add(hostId);
    const pushing = this.#pushTo(copies, host, signal).finally(() => {
      this.#pushes.delete(pushing);
      copies.pushing.delete(hostId);
      this.#tellTermination(copies);
      this.#arrange(copies.agentId);
    });
    this.#pushes.add(pushing);
  }

  #tellTermination({ agentId, termination, pushing, held, targets }: Copies): void {
    if (termination === undefined || pushing.size > 0) return;
    // A push may have arrived without its answer having done so.
    this.#notices.tell({ agentId, termination }, [...new Set([...held.keys(), ...targets])]);
  }

  async #pushTo(copies: Copies, host: ReplicaTarget, signal: AbortSignal): Promise<void> {
    const { hostId } = host;
    let triedAtMs = 0;
    try {
      await this.#slotsFor(hostId).run(signal, () =>
        this.#slots.run(signal, async () => {
          // It may have waited long enough for the agent to be gone, or the host to have failed with another one.
          if (this.#agents.get(copies.agentId) !== copies || this.#isResting(copies, hostId)) return;
          triedAtMs = this.#parts.clock.monotonicMs();
          await this.#pushNewest(copies, host, signal);
        }),
      );
    } catch (cause) {
      if (signal.aborted) return;
      this.#parts.onPush("failed");
      this.#noteFailure(copies, hostId, { cause, triedAtMs });
    }
  }

  async #pushNewest(copies: Copies, host: ReplicaTarget, signal: AbortSignal): Promise<void> {
    const { logger, onPush, source } = this.#parts;
    const { agentId, newest } = copies;
    const { checkpoint, receipts, ref } = newest;
    const manifest = await fetched(() => source.manifest(agentId));
    const first = copies.moduleBytes === undefined ? await fetched(() => source.module(agentId)) : undefined;
    copies.moduleBytes ??= first?.length ?? 0;
    const content = {
      agentId,
      checkpoint,
      manifest,
      moduleBytes: copies.moduleBytes,
      receipts,
      module: async () => first ?? (await source.module(agentId)),
      spine: (known: string | undefined) => source.spine(agentId, checkpoint, known),
    };
    const outcome = await this.#converse(host, signal, (talk) => pushReplica(content, talk));
    onPush(outcome.kind);
    this.#avoided.succeeded(host.hostId);
    this.#avoided.succeeded(pair(agentId, host.hostId));
    this.#avoided.succeeded(agentId);
    if (outcome.kind === "held") {
      noteHeld(copies, host.hostId, ref);
      return;
    }
    copies.behind.set(host.hostId, ref.digest);
    // Of one that has gone on to another host that is as it should be.
    const level = copies.leftAtMs === undefined ? "warn" : "debug";
    const { newer } = outcome;
    logger[level]({ agentId, hostId: host.hostId, tick: ref.tick, newer }, "holder has a newer checkpoint");
  }

  /** A stream to the host, ended whatever happens. */
  async #converse<T>(host: ReplicaTarget, signal: AbortSignal, work: (talk: Conversation) => Promise<T>): Promise<T> {
    const { streams, clock } = this.#parts;
    const { connectMs, pushMs, stallMs } = this.#rules;
    using limited = deadlineSignal(clock, { what: "the end of a push", ms: pushMs, signal });
    const dial = { what: `a connection to host ${host.hostId}`, ms: connectMs, signal: limited.signal };
    const stream = new FramedStream(
      await withDeadline(clock, dial, (within) => streams.open(host, REPLICATE_PROTOCOL, within)),
    );
    try {
      const result = await work({ stream, peerHostId: host.hostId, clock, stallMs, signal: limited.signal });
      await stream.close(limited.signal).catch((cause: unknown) => stream.abort(asError(cause)));
      return result;
    } catch (cause) {
      stream.abort(asError(cause));
      throw cause;
    }
  }

  #noteFailure(
    { agentId }: Copies,
    hostId: string,
    { cause, triedAtMs }: { readonly cause: unknown; readonly triedAtMs: number },
  ): void {
    const { logger } = this.#parts;
    if (cause instanceof SourceFailure) {
      this.#avoided.failed(agentId, triedAtMs);
      logger.error({ err: cause, agentId }, "agent cannot be replicated");
      return;
    }
    if (isFault(cause, "DIVERGENT_LINEAGE")) {
      logger.error({ err: cause, agentId, hostId }, "holder has another checkpoint of this tick (EI-11)");
    } else {
      logger.info({ err: cause, agentId, hostId }, "checkpoint not replicated");
    }
    const refused = failureOf(cause)?.class === "fatal-target";
    this.#avoided.failed(refused ? pair(agentId, hostId) : hostId, triedAtMs);
  }

  #slotsFor(hostId: string): Slots {
    let slots = this.#slotsOf.get(hostId);
    if (slots === undefined) {
      slots = new Slots(this.#rules.maxPushesPerHost);
      this.#slotsOf.set(hostId, slots);
    }
    return slots;
  }
}

function pair(agentId: string, hostId: string): string {
  return `${agentId}/${hostId}`;
}
