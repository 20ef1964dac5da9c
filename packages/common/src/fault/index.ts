export { FAULT_CODES, type FaultCode, type FaultDetail, type FaultDetailOf } from "./codes.ts";
export { Fault, faultMessage, isFault } from "./fault.ts";
export { decodeFault, encodeFault } from "./wire.ts";
