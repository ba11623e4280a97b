// 9 · any thread · the facts of a connection as the evaluator is shown them, by what proved the caller. Pure.
import type { Endpoint } from "../mesh/endpoint.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";

/** Both ends as the destination sees them: the caller's own address, and the application's after every resolution. */
export type JudgedEnds = { readonly client: Endpoint; readonly target: Endpoint };

/** Plaintext: the caller proved nothing. */
export function plaintextFacts(ends: JudgedEnds, destination: Workload): ConnectionFacts {
  return factsOf(ends, destination, null, "none");
}

/** `identity` was proved by a certificate, in mutual TLS. */
export function certificateFacts(ends: JudgedEnds, destination: Workload, identity: SpiffeId): ConnectionFacts {
  return factsOf(ends, destination, identity, "mtls");
}

/** Both pods are of this node: the kernel proves by the network namespace that `source` calls. */
export function sameNodeFacts(ends: JudgedEnds, destination: Workload, source: Workload): ConnectionFacts {
  return factsOf(ends, destination, source.identity, "socket");
}

function factsOf(
  { client, target }: JudgedEnds,
  destination: Workload,
  sourceIdentity: SpiffeId | null,
  security: ConnectionFacts["security"],
): ConnectionFacts {
  return {
    sourceAddress: client.address,
    sourcePort: client.port,
    sourceIdentity,
    destinationAddress: target.address,
    destinationPort: target.port,
    destination,
    security,
    // Judges the connection alone. agent/traffic/request.ts replaces this by the facts of each request.
    request: "strict",
  };
}
