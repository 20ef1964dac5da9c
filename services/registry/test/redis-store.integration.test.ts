import { describeQuarantineContract } from "./quarantine-contract.ts";
import { describeStoreContract } from "./store-contract.ts";

// On a real redis-server with AOF, which the suite starts on a free port.
describeStoreContract("redis");
describeQuarantineContract("redis");
