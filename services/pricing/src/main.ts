#!/usr/bin/env node
import { runService } from "@godwit/service";
import { pricing } from "./pricing.ts";

await runService(pricing, process);
