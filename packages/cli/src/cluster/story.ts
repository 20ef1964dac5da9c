import type { Clock } from "@godwit/common/clock";
import type { Terminal } from "../terminal.ts";
import { type Happening, happeningLine } from "./view.ts";

export interface StoryParts {
  readonly clock: Clock;
  readonly terminal: Terminal;
  /** Whether a view draws what happened: then it is only printed until that begins and after it has ended. */
  readonly live: boolean;
}

/** What happened, with its time since the start. */
export class Story {
  readonly #parts: StoryParts;
  readonly #beganMs: number;
  readonly #happenings: Happening[] = [];
  #drawn = false;

  constructor(parts: StoryParts) {
    this.#parts = parts;
    this.#beganMs = parts.clock.monotonicMs();
  }

  get happenings(): readonly Happening[] {
    return this.#happenings;
  }

  /** Since the start. */
  get elapsedMs(): number {
    return this.#parts.clock.monotonicMs() - this.#beganMs;
  }

  tell(text: string): void {
    const happening = { atMs: this.elapsedMs, text };
    this.#happenings.push(happening);
    if (!this.#drawn) this.#parts.terminal.out(`${happeningLine(happening)}\n`);
  }

  /** More about what was told last; not kept. */
  detail(text: string): void {
    if (!this.#drawn) this.#parts.terminal.out(`            ${text}\n`);
  }

  /** From now on somebody else shows what happens, until the function that is given back is called. */
  handOver(): () => void {
    if (!this.#parts.live || !this.#parts.terminal.isTerminal) return () => {};
    this.#drawn = true;
    return () => {
      this.#drawn = false;
    };
  }
}
