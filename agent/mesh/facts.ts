// any thread · all that a judge may look at. Plain values; of the connection nothing was said by the application, of the request
// everything by the caller.
import type { SpiffeId } from "./spiffe-id.ts";
import type { Workload } from "./workload.ts";

/** A text of a request in its one meaning (agent/l7/canonical.ts). */
export type RequestText = {
  /** Canonical; as it came when it is ambiguous. */
  readonly text: string;
  /** What a receiver may take it for, the canonical text first. Empty: ambiguous. */
  readonly readings: readonly string[];
  /** Why a receiver may take it for anything; null: it has the readings above. */
  readonly ambiguity: string | null;
};

/** What one HTTP request shows of itself. */
export type RequestFacts = {
  /** As it was sent. */
  readonly method: string;
  /** Without its query. */
  readonly path: RequestText;
  /** Host or :authority. */
  readonly host: RequestText;
  readonly header: ReadHeader;
};

/**
 * Values of the field of this lower-case name, one for each field line in the order of arrival; empty: not sent. "alike": of all fields
 * whose names differ from it only in signs, such as `x_role` and `x-role`. CGI makes a single variable of them (RFC 3875 section 4.1.18),
 * and so do WSGI and Rack.
 */
export type ReadHeader = (name: string, spelled?: "alike") => readonly string[];

export type ConnectionFacts = {
  /** The TCP peer (the client's own address). Canonical text. */
  readonly sourceAddress: string;
  readonly sourcePort: number;
  /** The verified identity of the peer; null: plaintext, so nobody. */
  readonly sourceIdentity: SpiffeId | null;
  /** The workload's address and port after resolution, never the VIP. */
  readonly destinationAddress: string;
  readonly destinationPort: number;
  /** Whom the destination address belongs to; its namespace and labels select the policies. */
  readonly destination: Workload;
  /** "mtls": identity proved by certificate. "socket": same node, proved by the kernel (netns cookie). "none": plaintext. */
  readonly security: "mtls" | "socket" | "none";
  /**
   * How a rule's fields of HTTP are read. A request: exactly. "strict": the connection alone is judged, and a field that only a
   * request shows matches in a DENY or AUDIT and never in an ALLOW. "lenient": the reverse, which no request can exceed.
   */
  readonly request: RequestFacts | "strict" | "lenient";
};
