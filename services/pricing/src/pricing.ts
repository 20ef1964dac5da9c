import { defineService } from "@godwit/service";
import { compose } from "./compose.ts";
import { pricingOptions } from "./config.ts";

export const pricing = defineService({
  name: "pricing",
  summary:
    "Knows what each host asks for a second of an agent's run time, and asks the hosts when somebody wants to know it for sure.",
  ports: { grpc: 7_450, ops: 8_450 },
  options: pricingOptions,
  compose,
});
