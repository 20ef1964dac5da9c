#!/usr/bin/env node
import process from "node:process";
import { runService } from "@godwit/service";
import { agentHost } from "./agent-host.ts";

await runService(agentHost, process);
