// A host's place in the simulated network, instead of its libp2p node.

import type { ByteStream, HostNode, ProtocolLimits, StreamHandler } from "@godwit/agent-host/parts";
import { ClassifiedFault } from "@godwit/common/retry";
import type { SimProcess } from "../time/sim-process.ts";
import { type StreamCuts, streamPair } from "./byte-streams.ts";
import type { Network } from "./network.ts";

interface Serving {
  readonly limits: ProtocolLimits;
  readonly handler: StreamHandler;
}

/** Hosts by their id; filled as they start. */
export class Nodes {
  readonly #byHostId = new Map<string, SimNode>();
  /** Asked for each stream that is opened. */
  cutsFor: (protocol: string) => StreamCuts = () => ({ bytesLeft: undefined, onCut: () => {} });

  join(node: SimNode): void {
    this.#byHostId.set(node.hostId, node);
  }

  of(hostId: string): SimNode | undefined {
    return this.#byHostId.get(hostId);
  }
}

export class SimNode implements HostNode {
  readonly hostId: string;
  readonly process: SimProcess;
  readonly #network: Network;
  readonly #nodes: Nodes;
  readonly #serving = new Map<string, Serving>();
  readonly #inbound = new Map<string, number>();

  constructor(parts: {
    readonly hostId: string;
    readonly process: SimProcess;
    readonly network: Network;
    readonly nodes: Nodes;
  }) {
    this.hostId = parts.hostId;
    this.process = parts.process;
    this.#network = parts.network;
    this.#nodes = parts.nodes;
  }

  addresses(): readonly string[] {
    return [`/dns/${this.process.name}/tcp/1`];
  }

  connectedPeers() {
    return [];
  }

  async serve(protocol: string, limits: ProtocolLimits, handler: StreamHandler): Promise<void> {
    this.#serving.set(protocol, { limits, handler });
  }

  async unserve(protocol: string): Promise<void> {
    this.#serving.delete(protocol);
  }

  open({ hostId }: { readonly hostId: string }, protocol: string, signal: AbortSignal): Promise<ByteStream> {
    const network = this.#network;
    const near = this.process.name;
    return new Promise((resolve, reject) => {
      const unreachable = (reason: string) => {
        signal.removeEventListener("abort", onAbort);
        reject(new ClassifiedFault("retriable", { code: "PEER_UNREACHABLE", hostId, reason }));
      };
      const onAbort = () => {
        const far = this.#nodes.of(hostId)?.process.name;
        // A connection whose other end is gone without a word opens no stream: the next attempt dials anew.
        if (far !== undefined) network.reconnect(near, far);
        unreachable("no answer in time");
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort, { once: true });
      const target = this.#nodes.of(hostId);
      if (target === undefined) return unreachable("no such host");
      const far = target.process.name;
      const back = (run: () => void) => {
        network.send({ from: far, to: near, toProcess: this.process, deliver: run });
      };
      if (!target.process.alive) {
        if (!network.isCut(near, far) && !network.isCut(far, near)) back(() => unreachable("connection refused"));
        return;
      }
      network.send({
        from: near,
        to: far,
        deliver: () => {
          const there = this.#nodes.of(hostId);
          if (there === undefined || !there.process.alive) return;
          const serving = there.#serving.get(protocol);
          if (serving === undefined) return back(() => unreachable("it does not speak this protocol"));
          const key = `${this.hostId} ${protocol}`;
          const open = there.#inbound.get(key) ?? 0;
          if (open >= serving.limits.maxInboundStreams) return back(() => unreachable("too many streams"));
          there.#inbound.set(key, open + 1);
          const pair = streamPair(
            network,
            { process: this.process },
            { process: there.process },
            this.#nodes.cutsFor(protocol),
          );
          back(() => {
            if (signal.aborted) return pair.near.abort(new Error("opened too late"));
            signal.removeEventListener("abort", onAbort);
            resolve(pair.near);
          });
          const ended = () => there.#inbound.set(key, Math.max(0, (there.#inbound.get(key) ?? 1) - 1));
          serving.handler(pair.far, this.hostId).then(ended, (cause: unknown) => {
            ended();
            pair.far.abort(cause instanceof Error ? cause : new Error(String(cause)));
          });
        },
      });
    });
  }
}
