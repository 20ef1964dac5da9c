export {
  ClassifiedFault,
  FAILURE_CLASSES,
  type Failure,
  type FailureClass,
  failureError,
  failureOf,
} from "./failure.ts";
export { checkRetryPolicy, DEFAULT_RETRY_POLICY, delaysMs, type RetryPolicy } from "./policy.ts";
export { type Retry, type RetryRules, retry } from "./retry.ts";
export { RetryBudget, type RetryBudgetRules } from "./retry-budget.ts";
