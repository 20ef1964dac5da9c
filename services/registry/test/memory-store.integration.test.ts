import { describeQuarantineContract } from "./quarantine-contract.ts";
import { describeStoreContract } from "./store-contract.ts";

describeStoreContract("memory");
describeQuarantineContract("memory");
