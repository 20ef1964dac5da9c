import { storeKinds } from "./fixtures/stores.ts";
import { describeStoreContract } from "./store-contract.ts";

for (const kind of storeKinds) describeStoreContract(kind);
