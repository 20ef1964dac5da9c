// In every image: asks the service in this container how it is, on its ops port. Exits 1 with what it said otherwise.
//
// usage: node probe.mjs /livez|/readyz

const [path = "/livez"] = process.argv.slice(2);
const port = process.env.GODWIT_OPS_LISTEN?.split(":").at(-1);

try {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(2_000) });
  console.log(`${answer.status} ${await answer.text()}`);
  process.exitCode = answer.ok ? 0 : 1;
} catch (error) {
  console.log(`nothing answers on port ${port}: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
