import { describeStoreContract } from "./store-contract.ts";

describeStoreContract("embedded");
