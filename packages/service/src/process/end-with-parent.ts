// Loaded before a service's own code by ServiceProcess, with --import. Standard input is a pipe that only the parent holds: when
// it ends, the parent is gone, however it went, and this process goes too instead of running on with nobody to stop it.

process.stdin.once("close", () => process.kill(process.pid, "SIGKILL"));
process.stdin.resume();
// A service that has nothing more to do ends by itself; the pipe alone is no reason to stay. (A pipe is a socket, which has unref.)
if ("unref" in process.stdin) process.stdin.unref();
