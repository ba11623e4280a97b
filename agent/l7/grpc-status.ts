// any thread · what a call of gRPC has come to, in the words of HTTP: gRPC answers 200 whatever happened, and its own status comes last. Pure.

/** By number (grpc:doc/statuscodes.md), as gRPC's gateways map them (googleapis:google/rpc/code.proto, "HTTP Mapping"). */
const meant: readonly number[] = [
  ...[200, 499, 500, 400, 504, 404, 409, 403],
  ...[429, 400, 409, 400, 501, 500, 503, 500, 401],
];

/** `grpcStatus`: absent of a request that is no call, -1 of a call that ended without it; then `status` says what there is to say. */
export type Answered = { readonly status: number; readonly grpcStatus?: number | undefined };

/** The status of HTTP that means the same. */
export function statusMeant({ status, grpcStatus = -1 }: Answered): number {
  // An array is asked for what it has not: as slow as a dozen of what it has, and most requests are no calls.
  return status === 200 && grpcStatus >= 0 ? (meant[grpcStatus] ?? status) : status;
}
