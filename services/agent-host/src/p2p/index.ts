export {
  asError,
  type ByteStream,
  DEFAULT_FRAME_RULES,
  FramedStream,
  type FrameRules,
  type FrameStream,
} from "./framed-stream.ts";
export { admitPeer, asClassified, type IsKnownHost } from "./known-peers.ts";
export {
  type ConnectedPeer,
  P2pNode,
  type P2pRules,
  type ProtocolLimits,
  type StreamHandler,
  type StreamOpener,
  type StreamServer,
} from "./node.ts";
export {
  FAULT_FRAMES,
  type FrameKindOf,
  parseStreamFault,
  type StreamFault,
  type StreamFaultAction,
  StreamFaults,
  type StreamFaultsParts,
} from "./stream-faults.ts";
