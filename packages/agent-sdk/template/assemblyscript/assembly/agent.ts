import { Agent, clockNow, Decoder, Encoder, formatSeconds, log, register } from "@godwit/agent-sdk/assembly";

// What a host calls.
export * from "@godwit/agent-sdk/assembly/exports";

class {{class}} extends Agent {
  private ticks: u64 = 0;
  private bornNs: i64 = 0;

  constructor() {
    super("{{name}}", "{{tag}}", 1); // what it calls itself; the tag and the version of its states
  }

  /** Every second, or at once again if it returns true. Depends on nothing but the state and what the host answers. */
  tick(): bool {
    const nowNs = clockNow();
    if (this.ticks == 0) this.bornNs = nowNs;
    this.ticks++;
    log("tick " + this.ticks.toString() + ", " + formatSeconds(nowNs - this.bornNs) + " old");
    return false;
  }

  /** All that it has to remember: what is not written here is gone when it moves. */
  save(state: Encoder): void {
    state.u64(this.ticks);
    state.i64(this.bornNs);
  }

  /** The same, in the same order. */
  load(state: Decoder): void {
    this.ticks = state.u64();
    this.bornNs = state.i64();
  }
}

register(new {{class}}());
