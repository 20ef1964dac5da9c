/** Events of one machine, in the order in which they happened; whoever drives the machine takes them one at a time. */
export class Mailbox<Event> {
  readonly #waiting: Event[] = [];
  #wake: (() => void) | undefined;

  post(event: Event): void {
    this.#waiting.push(event);
    this.#wake?.();
  }

  async take(): Promise<Event> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) return next;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
