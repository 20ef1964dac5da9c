// The scripts for Redis are read at run time, beside the built code as beside the source.
import { cp } from "node:fs/promises";

await cp(new URL("../src/redis/lua", import.meta.url), new URL("../dist/redis/lua", import.meta.url), {
  recursive: true,
});
