// The contract suites: apart from the rest, since they can be imported in a test run only.

export { type ClockUnderTest, describeClockContract } from "./clock/clock-contract.ts";
