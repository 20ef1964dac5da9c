/** Where a command prints, and what is there to print on. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Whether people look at `out`, and it can be redrawn. */
  readonly isTerminal: boolean;
  columns(): number;
  rows(): number;
}

/** What a command gets from the process that it runs in. */
export interface Surroundings {
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  /** Aborts when the user interrupts. */
  readonly signal: AbortSignal;
}
