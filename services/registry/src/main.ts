#!/usr/bin/env node
import process from "node:process";
import { runService } from "@godwit/service";
import { registryDefinition } from "./service.ts";

await runService(registryDefinition, process);
