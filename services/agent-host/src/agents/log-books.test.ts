import { FakeClock } from "@godwit/testing";
import { describe, expect, test } from "vitest";
import type { LogBook } from "./log-book.ts";
import { LogBooks } from "./log-books.ts";

function say(book: LogBook, line: string): void {
  book.write({ major: 0n, tick: 1n, origin: "agent", line });
}

function said(book: LogBook): readonly string[] {
  return book.tail(1_000).map(({ line }) => line);
}

function booksThatKeep(keptResting: number): LogBooks {
  return new LogBooks(new FakeClock(), { keptResting });
}

describe("log books", () => {
  test("of agents that ended are kept for the newest of them only", () => {
    const books = booksThatKeep(2);
    for (const agentId of ["a", "b", "c"]) {
      books.begun(agentId);
      say(books.of(agentId), `last words of ${agentId}`);
      books.ended(agentId);
    }
    expect(said(books.of("b"))).toEqual(["last words of b"]);
    expect(said(books.of("c"))).toEqual(["last words of c"]);
    expect(said(books.of("a"))).toEqual([]);
  });

  test("of agents that run are all kept, and go on when one comes back", () => {
    const books = booksThatKeep(1);
    books.begun("a");
    books.begun("b");
    say(books.of("a"), "one");
    say(books.of("b"), "one");
    books.ended("a");
    books.begun("a");
    books.of("never-here");
    say(books.of("a"), "two");
    expect([said(books.of("a")), said(books.of("b"))]).toEqual([["one", "two"], ["one"]]);
  });

  test("that are read before their agent begins are the ones that it writes to", () => {
    const books = booksThatKeep(1);
    const read = books.of("a");
    books.begun("a");
    say(books.of("a"), "hello");
    expect(said(read)).toEqual(["hello"]);
  });
});

describe("a log book", () => {
  test("keeps the newest 1,000 lines, and of long ones as many as 256 Ki characters hold", () => {
    const book = booksThatKeep(1).of("a");
    for (let line = 0; line < 1_500; line++) say(book, `${line}`);
    expect(said(book)).toHaveLength(1_000);
    expect(said(book)[0]).toBe("500");

    const long = "x".repeat(64 * 1024);
    for (let line = 0; line < 10; line++) say(book, long);
    expect(said(book)).toEqual([long, long, long, long]);
    say(book, "x".repeat(512 * 1024));
    expect(said(book)).toHaveLength(1);
    say(book, "short again");
    expect(said(book)).toEqual(["short again"]);
  });

  test("keeps for a follower that does not read some 4 Mi characters, and the newest after it has read", async () => {
    const book = booksThatKeep(1).of("a");
    const done = new AbortController();
    const following = book.follow(1, done.signal);
    say(book, "first");
    expect((await following.next()).value).toMatchObject({ line: "first" });
    for (let line = 0; line < 100; line++) say(book, "x".repeat(64 * 1024));
    for (let waiting = 0; waiting < 65; waiting++) expect((await following.next()).value.line).toHaveLength(64 * 1024);
    say(book, "last");
    expect((await following.next()).value).toMatchObject({ line: "last" });
    done.abort();
    expect((await following.next()).done).toBe(true);
  });
});
