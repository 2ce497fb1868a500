/** The HTTP server, for programs that run a node themselves and serve it, with views of their own. */
export type { Scope, TokenInfo } from "../auth/grant.ts";
export { type NewToken, type TokenRequest, TokenStore } from "../auth/token-store.ts";
export type { GatewayDomain } from "./domains.ts";
export { Gateway, type GatewayOptions, startGateway } from "./gateway.ts";
export type { TlsOptions } from "./app.ts";
export type { HttpLimits } from "./limits.ts";
export { NoticeLog } from "./notice-log.ts";
export type { Problem } from "./problem.ts";
export type { Session } from "./sessions.ts";
export type { View, ViewContext } from "./views.ts";
