export { type Clock, type Random, systemClock, systemRandom } from "./clock.ts";
export { type Deadline, type DeadlineSignal, deadlineSignal, untilAborted, withDeadline } from "./deadline.ts";
export { type Entropy, systemEntropy } from "./entropy.ts";
