// Child processes that must not outlive this one. One handler for all of them, so that a test run with many children does
// not collect listeners.

interface Child {
  kill(signal: NodeJS.Signals): boolean;
}

const children = new Set<Child>();
let watching = false;

/** Kills `child` should this process end first; dispose of it once the child is gone. */
export function killAtExit(child: Child): Disposable {
  if (!watching) {
    watching = true;
    process.on("exit", () => {
      for (const left of children) left.kill("SIGKILL");
    });
  }
  children.add(child);
  return { [Symbol.dispose]: () => children.delete(child) };
}
