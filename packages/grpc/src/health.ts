// grpc.health.v1: what load balancers and orchestrators ask. The empty name stands for the server as a whole.

import { Fault } from "@godwit/common/fault";
import {
  Health as HealthService,
  HealthCheckResponse_ServingStatus as Wire,
} from "@godwit/proto/grpc/health/v1/health";
import { type CallContext, type ServedService, serve } from "./handlers.ts";

export type HealthStatus = "serving" | "not-serving";

const WIRE = { serving: Wire.SERVING, "not-serving": Wire.NOT_SERVING } as const;

export class Health {
  readonly served: ServedService;
  readonly #statuses: Map<string, HealthStatus>;
  readonly #watchers = new Set<() => void>();

  constructor(services: readonly string[]) {
    this.#statuses = new Map(["", ...services].map((service) => [service, "not-serving"]));
    this.served = serve(HealthService, {
      check: ({ service }) => ({ status: this.#known(service) }),
      list: () => ({
        statuses: Object.fromEntries([...this.#statuses.keys()].map((name) => [name, { status: this.#known(name) }])),
      }),
      watch: ({ service }, context) => this.#watch(service, context),
    });
  }

  /** One service, or "" for the server as a whole. */
  set(service: string, status: HealthStatus): void {
    this.#statuses.set(service, status);
    for (const wake of this.#watchers) wake();
  }

  setAll(status: HealthStatus): void {
    for (const service of this.#statuses.keys()) this.#statuses.set(service, status);
    for (const wake of this.#watchers) wake();
  }

  #known(service: string): Wire {
    const status = this.#statuses.get(service);
    if (status === undefined) {
      throw new Fault({ code: "SERVICE_UNKNOWN", service });
    }
    return WIRE[status];
  }

  async *#watch(service: string, { signal }: CallContext) {
    let told: Wire | undefined;
    for (;;) {
      const status = this.#statuses.get(service);
      const now = status === undefined ? Wire.SERVICE_UNKNOWN : WIRE[status];
      if (now !== told) {
        told = now;
        yield { status: now };
        continue; // it may have changed while this one was being sent
      }
      await this.#changed(signal);
    }
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#watchers.delete(wake);
        signal.removeEventListener("abort", onAbort);
      };
      const wake = () => {
        done();
        resolve();
      };
      const onAbort = () => {
        done();
        reject(signal.reason);
      };
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      this.#watchers.add(wake);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }
}
