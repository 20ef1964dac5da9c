export { type ChannelRules, type ClientTls, GrpcChannel } from "./channel.ts";
export { type CallOptions, client, type RpcCall, type RpcChannel, type ServiceClient } from "./client.ts";
export { type CallContext, type Handler, type ServedService, type ServiceHandlers, serve } from "./handlers.ts";
export type { Health, HealthStatus } from "./health.ts";
export { decode, encode, pathOf } from "./method-definition.ts";
export { GrpcServer, type GrpcServerParts, type GrpcServerRules, type ServerTls } from "./server.ts";
export type { EndedCall } from "./server-call.ts";
export { faultOf, STATUS_OF, wireStatusOf } from "./status.ts";
