export { ServiceLog } from "./service-log.ts";
export { type Exit, ServiceProcess, type ServiceProcessSpec } from "./service-process.ts";
