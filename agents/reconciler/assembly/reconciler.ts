// An agent with one task: a transfer over a bridge that has left one side is to be finalised on the other, once, whatever happens to the
// agent meanwhile. The bridge is played: what it is asked is in the log.
//
// The layout of its states is that of the seed system's agent: README.md.

import {
  Agent,
  clockNow,
  Decoder,
  deriveKey,
  Encoder,
  formatBytes,
  Intent,
  IntentState,
  log,
  randBytes,
  register,
  withoutHead,
} from "@godwit/agent-sdk/assembly";

export * from "@godwit/agent-sdk/assembly/exports";

const enum Phase {
  detected = 0,
  waiting = 1,
  ready = 2,
  finalised = 3,
  completed = 4,
}

const idBytes: i32 = 16;
const confirmationsRequired: u32 = 6;

class Reconciler extends Agent {
  private phase: Phase = Phase.detected;
  private ticks: u64 = 0;
  private caseId: Uint8Array = new Uint8Array(idBytes);
  private confirmations: u32 = 0;
  private required: u32 = confirmationsRequired;
  private key: Uint8Array = new Uint8Array(idBytes);
  private intent: Intent | null = null;
  private duplicateChecked: bool = false;
  private detectedNs: i64 = 0;
  private finalisedNs: i64 = 0;
  private completedNs: i64 = 0;

  constructor() {
    super("reconciler", withoutHead);
  }

  tick(): bool {
    const nowNs = clockNow();
    this.ticks++;
    if (this.phase == Phase.detected) this.detect(nowNs);
    else if (this.phase == Phase.waiting) this.countConfirmation();
    else if (this.phase == Phase.ready) this.finalise(nowNs);
    else if (this.phase == Phase.finalised) this.settle(nowNs);
    return this.phase != Phase.completed;
  }

  save(state: Encoder): void {
    const intent = this.intent;
    if (intent != null) intent.keep();
    const isExecuted = intent != null && intent.state != IntentState.recorded;
    const isAcknowledged = intent != null && intent.state == IntentState.confirmed;
    state.u32(this.phase);
    state.u64(this.ticks);
    state.bytes(this.caseId);
    state.u32(this.confirmations);
    state.u32(this.required);
    state.bytes(this.key);
    state.bool(intent != null);
    state.bool(isExecuted);
    state.bool(this.duplicateChecked);
    state.bool(isAcknowledged);
    state.i64(this.detectedNs);
    state.i64(this.finalisedNs);
    state.i64(this.completedNs);
  }

  load(state: Decoder): void {
    const phase = state.u32();
    this.ticks = state.u64();
    this.caseId = state.bytes();
    this.confirmations = state.u32();
    this.required = state.u32();
    this.key = state.bytes();
    const isRecorded = state.bool();
    const isExecuted = state.bool();
    this.duplicateChecked = state.bool();
    const isAcknowledged = state.bool();
    this.detectedNs = state.i64();
    this.finalisedNs = state.i64();
    this.completedNs = state.i64();

    if (phase > <u32>Phase.completed) state.fail("there is no phase " + phase.toString());
    if (this.caseId.length != idBytes || this.key.length != idBytes) state.fail("an id has not 16 bytes");
    const needsIntent = phase >= <u32>Phase.finalised;
    if ((isExecuted && !isRecorded) || (isAcknowledged && !isExecuted) || (needsIntent && !isExecuted)) {
      state.fail("it says that something is done which has not begun");
    }
    if (isRecorded && phase < <u32>Phase.ready) state.fail("it says that an intent is recorded whose key is not known yet");
    if (!state.ok) return;
    this.phase = <Phase>phase;
    const intentState = isAcknowledged ? IntentState.confirmed : isExecuted ? IntentState.begun : IntentState.recorded;
    this.intent = isRecorded ? Intent.kept(this.key, this.caseId, intentState) : null;
  }

  private detect(nowNs: i64): void {
    this.caseId = randBytes(idBytes);
    this.detectedNs = nowNs;
    this.phase = Phase.waiting;
    log("case " + formatBytes(this.caseId) + ": a transfer has left, and has not arrived");
  }

  private countConfirmation(): void {
    this.confirmations++;
    log("confirmation " + this.confirmations.toString() + " of " + this.required.toString());
    if (this.confirmations < this.required) return;
    this.key = deriveKey(this.caseId); // and not at random: if a crash takes this tick back, it comes out the same
    this.phase = Phase.ready;
    log("ready to finalise, with the key " + formatBytes(this.key));
  }

  /** First the intent, and in a later tick the deed: a state between the two knows the key. */
  private finalise(nowNs: i64): void {
    const intent = this.intent;
    if (intent == null) {
      this.intent = new Intent(this.key, this.caseId);
      log("intent to finalise recorded");
      return;
    }
    intent.begin();
    this.finalisedNs = nowNs;
    this.phase = Phase.finalised;
    log("finalise " + formatBytes(this.caseId) + ", key " + formatBytes(this.key));
  }

  /** What was begun is not done again: the bridge is asked by the key how it ended. */
  private settle(nowNs: i64): void {
    const intent = this.intent!;
    if (!this.duplicateChecked) {
      this.duplicateChecked = true;
      log("key " + formatBytes(this.key) + " was used already: finalising again is skipped");
    } else if (intent.state == IntentState.unresolved) {
      intent.confirm();
      log("the bridge acknowledges the key " + formatBytes(this.key));
    } else {
      this.completedNs = nowNs;
      this.phase = Phase.completed;
      log("case " + formatBytes(this.caseId) + " is completed after " + this.ticks.toString() + " ticks");
    }
  }
}

register(new Reconciler());
