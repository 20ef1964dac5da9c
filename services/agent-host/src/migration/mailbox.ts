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
      if (this.#waiting.length > 0) return this.#waiting.shift() as Event; // an event may be `undefined`
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
