// any thread · all that a judge may look at. Plain values; nothing here was said by the application.
import type { SpiffeId } from "./spiffe-id.ts";
import type { Workload } from "./workload.ts";

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
};
