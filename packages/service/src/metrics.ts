import { collectDefaultMetrics, Histogram, Registry } from "prom-client";

/** A registry with the metrics of the process itself. */
export function createMetrics(): Registry {
  const register = new Registry();
  collectDefaultMetrics({ register });
  return register;
}

/** What @godwit/grpc tells of each call. */
interface EndedCall {
  readonly method: string;
  readonly status: string;
  readonly seconds: number;
}

/** `<service>_grpc_call_seconds`, by method and status. */
export function grpcCallObserver(service: string, register: Registry): (call: EndedCall) => void {
  const seconds = new Histogram({
    name: `${service.replaceAll("-", "_")}_grpc_call_seconds`,
    help: "Time to answer a gRPC call, by method and status; a stream's call lasts as long as the stream",
    labelNames: ["method", "status"] as const,
    buckets: [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 3, 10],
    registers: [register],
  });
  return ({ method, status, seconds: took }) => seconds.observe({ method, status }, took);
}
