// FundAgent: adds to the budget of an agent that runs here, or recovers one whose budget has ended.
//
// §11  The funding is the asking that RETIRED (unfunded) waits for. Nothing of it is kept before it is applied: whoever does
//      not hear how it ended gives the same id again, to whichever host has the agent by then.
// GA-5 Only what is unfunded is asked for by money: an agent that was stopped, or that failed, is an operator's to recover.

import { type Clock, withDeadline } from "@godwit/common/clock";
import { Fault, isFault } from "@godwit/common/fault";
import type { AuthorityRecord } from "@godwit/common/lease";
import type { Authority } from "../registry/ports.ts";
import type { DataDirectory } from "../storage/index.ts";
import { checkFunding, type Funded, type Funding, tickOfFunding } from "./funding.ts";
import type { Supervisor } from "./supervisor.ts";

export interface FunderParts {
  readonly agents: {
    supervisor(agentId: string): Supervisor | undefined;
    /** Of an agent that is held here; it has not begun. Throws Fault for one that cannot run here. */
    revived(agentId: string): Promise<Supervisor>;
    begin(supervisor: Supervisor): void;
  };
  readonly authority: Pick<Authority, "read">;
  readonly storage: Pick<DataDirectory, "agent" | "checkpoint" | "receipts">;
  readonly clock: Clock;
  /** The registry has been told of the agent's newest checkpoint, if it could be. */
  readonly reported: (agentId: string) => Promise<void>;
}

export interface FunderRules {
  /** For a recovery; it goes on in the background, with the funding. */
  readonly withinMs: number;
}

export class Funder {
  readonly #parts: FunderParts;
  readonly #rules: FunderRules;

  constructor(parts: FunderParts, rules: FunderRules) {
    this.#parts = parts;
    this.#rules = rules;
  }

  /** Durable when this resolves, and told to the registry. Throws Fault; without an answer the same id may be given again. */
  async fund(agentId: string, funding: Funding, signal: AbortSignal): Promise<Funded> {
    checkFunding(funding);
    const { clock, reported } = this.#parts;
    const deadline = { what: `the funding of agent ${agentId}`, ms: this.#rules.withinMs, signal };
    const funded = await withDeadline(clock, deadline, () => this.#applied(agentId, funding));
    await reported(agentId);
    return funded;
  }

  async #applied(agentId: string, funding: Funding): Promise<Funded> {
    const { agents } = this.#parts;
    const running = agents.supervisor(agentId);
    if (running !== undefined) return await running.fund(funding);
    const record = await this.#unfunded(agentId);
    const before = await this.#appliedBefore(agentId, funding, record);
    if (before !== undefined) return before;
    const revived = await agents.revived(agentId);
    const begun = agents.supervisor(agentId); // meanwhile, for somebody else
    if (begun !== undefined) return await begun.fund(funding);
    revived.tenancy.asked = "if-unfunded";
    const funded = revived.fund(funding);
    agents.begin(revived);
    return await funded;
  }

  /** Had it been all that the agent used up since, it would not be taken up for that again. */
  async #appliedBefore(agentId: string, { id }: Funding, record: AuthorityRecord | undefined) {
    const { storage } = this.#parts;
    const head = record && (await storage.checkpoint(agentId, record.head.digest));
    if (head === undefined || !head.header.fundingIds.includes(id)) return undefined;
    const wallet = (await storage.receipts(agentId, head.digest)) ?? [];
    return { tick: tickOfFunding(id, wallet), repeated: true };
  }

  /** Its record; `undefined`: the store has forgotten it. Throws Fault for an agent that waits for something else than money. */
  async #unfunded(agentId: string): Promise<AuthorityRecord | undefined> {
    const { authority, storage } = this.#parts;
    const reading = await authority.read(agentId);
    switch (reading.kind) {
      case "unreachable": {
        const { cause } = reading;
        if (isFault(cause, "QUARANTINE", "REGISTRY_UNAVAILABLE")) throw cause;
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new Fault({ code: "REGISTRY_UNAVAILABLE", reason }, { cause });
      }
      case "no-record": {
        // GA-9: what the store forgot. What this host saw end for want of money waits here to be asked.
        const journal = storage.agent(agentId)?.journal;
        if (journal?.phase === "retired" && journal.why === "unfunded") return undefined;
        throw new Fault({ code: "NO_RECORD", agentId });
      }
      case "record": {
        const { record } = reading;
        if (record.terminated !== undefined) throw new Fault({ code: "TERMINATED", agentId });
        if (record.state !== "RETIRED") throw new Fault({ code: "AGENT_NOT_HERE", agentId });
        if (record.reason === "unfunded") return record;
        throw new Fault({ code: "AGENT_NOT_RUNNING", agentId, reason: record.reason ?? "retired" });
      }
    }
  }
}
