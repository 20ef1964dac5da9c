// Stands for a service in the tests of the supervisor: ready after GODWIT_READY_AFTER ms, ends with 3 after GODWIT_END_AFTER ms, or on SIGUSR2.

import { createServer } from "node:http";

const { GODWIT_OPS_LISTEN = "", GODWIT_NAME = "service", GODWIT_READY_AFTER = "0", GODWIT_END_AFTER } = process.env;
const [host, port] = GODWIT_OPS_LISTEN.split(":");
let ready = false;

console.log(`hello from ${GODWIT_NAME}`);
createServer((_request, response) => {
  const missing = ready ? [] : [{ part: "registry", reason: "it does not answer" }];
  response.writeHead(ready ? 200 : 503, { "content-type": "application/json" });
  response.end(JSON.stringify({ ready, missing }));
}).listen(Number(port), host);
setTimeout(() => {
  ready = true;
}, Number(GODWIT_READY_AFTER));
if (GODWIT_END_AFTER !== undefined) {
  setTimeout(() => {
    console.log("last words");
    process.exit(3);
  }, Number(GODWIT_END_AFTER));
}
process.on("SIGUSR2", () => {
  console.log("last words");
  process.exit(3);
});
process.on("SIGTERM", () => {
  console.log("told to stop");
  process.exit(0);
});
