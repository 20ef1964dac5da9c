import { describeStoreContract } from "./store-contract.ts";

// On a real redis-server with AOF, which the suite starts on a free port.
describeStoreContract("redis");
