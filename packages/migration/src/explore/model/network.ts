// Messages in flight: a bag of interned messages, interned itself. Messages overtake each other freely; what is lost is never
// delivered, so only giving up on an answer needs an event of its own.

import { Interner } from "../engine/interner.ts";
import type { Message } from "./world.ts";

/** Sorted numbers of messages. */
export type Bag = readonly number[];

export class Network {
  readonly messages: Interner<Message>;
  readonly bags: Interner<Bag>;
  readonly #added = new Map<number, number>();
  readonly #removed = new Map<number, number>();

  constructor(bits: number) {
    this.messages = new Interner("messages", 20);
    this.bags = new Interner("sets of messages in flight", bits);
    this.bags.number([]);
  }

  get(bag: number): Bag {
    return this.bags.value(bag);
  }

  message(number: number): Message {
    return this.messages.value(number);
  }

  add(bag: number, message: number): number {
    const key = bag * 2 ** 20 + message;
    let next = this.#added.get(key);
    if (next === undefined) {
      next = this.bags.number([...this.get(bag), message].sort((a, b) => a - b));
      this.#added.set(key, next);
    }
    return next;
  }

  remove(bag: number, message: number): number {
    const key = bag * 2 ** 20 + message;
    let next = this.#removed.get(key);
    if (next === undefined) {
      const messages = [...this.get(bag)];
      const at = messages.indexOf(message);
      if (at >= 0) messages.splice(at, 1);
      next = this.bags.number(messages);
      this.#removed.set(key, next);
    }
    return next;
  }

  /** Each message kept (`true`), dropped (`false`) or replaced. */
  map(bag: number, change: (message: Message) => Message | undefined): number {
    const next: number[] = [];
    for (const number of this.get(bag)) {
      const message = this.message(number);
      const changed = change(message);
      if (changed !== undefined) next.push(changed === message ? number : this.messages.number(changed));
    }
    return this.bags.number(next.sort((a, b) => a - b));
  }
}
