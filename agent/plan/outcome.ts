// 15 · data thread · every way a connection may fail → response flag, HTTP status for a CONNECT, words for an operator. Pure.
import { constants } from "node:os";
import type { CloseCause, Closed } from "../engine/events.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Outcome, ResponseFlag } from "../observe/record.ts";

/** Why `traffic` said no. A closed list: each value is the access log's `cause` and a page in docs/. */
export type Refusal =
  | "no-original-destination" // :15001 was dialled directly, or the kernel's entry is gone: nothing is guessed
  | "unknown-source" //          the pod is no known workload, or the address is not the pod's own
  | "unknown-pod" //             a listener of a pod that this thread does not serve
  | "self-call" //               loopback and an own port
  | "own-port" //                an own port, dialled or resolved
  | "no-service-port" //         a VIP without this port
  | "no-healthy-endpoint" //     a Service that nobody answers for
  | "not-tls" //                 a TLSRoute is about the port, and the caller does not begin as TLS does
  | "no-tls-route" //            no TLSRoute about the port names the server that the caller has named
  | "overflow" //                as many connections as its Service's DestinationRule allows are open
  | "no-route-backend" //        what its route sends it to does not exist
  | "address-conflict" //        several workloads claim the destination's address
  | "no-certificate" //          our own is not there yet, and the wait is over
  | "bad-authority" //           neither ip:port nor [ip]:port
  | "hostname-authority" //      a name; only addresses are served (double HBONE is not spoken)
  | "authority-mismatch" //      not the address on which the tunnel was accepted
  | "unknown-peer" //            a CONNECT on a tunnel whose peer was never verified
  | "policy" //                  the evaluator denied
  | "http-required" //           policy judges its requests by now, and it was never read
  | "draining" //                this agent takes nothing new, or its time is over
  | "fault"; //                  an exception of ours: costs this connection and nothing else

/** `early`: ztunnel refuses it before it has made a record, and logs `connection failed`. */
type Row = { readonly flag: ResponseFlag; readonly status: number; readonly words: string; readonly early?: true };

const refusals: Readonly<Record<Refusal, Row>> = {
  "no-original-destination": {
    flag: "DENY",
    status: 400,
    words: "no original destination: the capture port was dialled",
    early: true,
  },
  "unknown-source": {
    flag: "DENY",
    status: 401,
    words: "the source address belongs to no known workload of this pod",
    early: true,
  },
  "unknown-pod": { flag: "DENY", status: 503, words: "this agent does not serve the pod", early: true },
  "self-call": {
    flag: "DENY",
    status: 503,
    words: "a loopback destination with one of Orlop's own ports",
    early: true,
  },
  "own-port": { flag: "DENY", status: 503, words: "the destination port is one of Orlop's own", early: true },
  "no-service-port": { flag: "CONNECT", status: 503, words: "the service has no such port", early: true },
  "no-healthy-endpoint": { flag: "CONNECT", status: 503, words: "no healthy endpoint for the service", early: true },
  "not-tls": { flag: "DENY", status: 503, words: "a TLSRoute is about the port, and the caller speaks no TLS" },
  "no-tls-route": { flag: "DENY", status: 503, words: "no TLSRoute about the port names this server" },
  "no-route-backend": {
    flag: "CONNECT",
    status: 503,
    words: "the Service or port to which the route sends it does not exist",
    early: true,
  },
  overflow: {
    flag: "CONNECT",
    status: 503,
    words: "as many connections as a DestinationRule allows are open to the service",
  },
  "address-conflict": {
    flag: "DENY",
    status: 503,
    words: "several workloads claim the destination address",
    early: true,
  },
  "no-certificate": {
    flag: "IDENTITY_ERROR",
    status: 503,
    words: "no certificate for the source workload yet; is the CA reachable?",
  },
  "bad-authority": { flag: "DENY", status: 400, words: "the CONNECT authority is not ip:port", early: true },
  "hostname-authority": {
    flag: "CONNECT",
    status: 503,
    words: "the CONNECT authority is a hostname; only addresses are served",
    early: true,
  },
  "authority-mismatch": {
    flag: "DENY",
    status: 400,
    words: "the CONNECT authority is not the address the tunnel was accepted on",
    early: true,
  },
  "unknown-peer": { flag: "IDENTITY_ERROR", status: 401, words: "the tunnel's peer was never verified" },
  policy: { flag: "DENY", status: 401, words: "denied by policy" },
  "http-required": { flag: "DENY", status: 503, words: "its requests are judged by now, and it was opened unread" },
  draining: { flag: "CONNECT", status: 503, words: "this agent is draining" },
  fault: { flag: "CONNECT", status: 503, words: "an internal error; the agent's log has it" },
};

/** HTTP status of a refused CONNECT (docs/reference/hbone.md#answers). */
export const statusOf = (refusal: Refusal): number => refusals[refusal].status;
export const flagOf = (refusal: Refusal): ResponseFlag => refusals[refusal].flag;

/** @param claimants the workloads of an `address-conflict`; the first three are named */
export function wordsOf(refusal: Refusal, claimants: readonly Workload[] = []): string {
  const { words } = refusals[refusal];
  if (claimants.length === 0) return words;
  const names = claimants.slice(0, 3).map(fullName).join(" and ");
  return `${words}: ${names}${claimants.length > 3 ? ` and ${claimants.length - 3} more` : ""}`;
}

const causes: Readonly<Record<CloseCause, Omit<Row, "status">>> = {
  finished: { flag: "-", words: "" },
  "reset-by-downstream": { flag: "-", words: "" },
  "reset-by-upstream": { flag: "-", words: "" },
  // Both have a reason of ours; these rows serve a close whose reason was lost, which must not look like success.
  refused: { flag: "DENY", words: "refused" },
  "closed-by-answer": { flag: "DENY", words: "closed by a later decision" },
  "connect-failed": { flag: "CONNECT", words: "connection failed" },
  "connect-timeout": { flag: "CONNECT", words: "connection timed out" },
  "tls-failed": { flag: "TLS_FAILURE", words: "TLS handshake failed" },
  "tls-peer-rejected": { flag: "IDENTITY_ERROR", words: "the peer's identity is not the expected one" },
  "h2-failed": { flag: "H2_HANDSHAKE_FAILURE", words: "no usable HTTP/2 on the tunnel" },
  "tunnel-refused": { flag: "CONNECT", words: "the peer refused the CONNECT" },
  "tunnel-lost": { flag: "CONNECT", words: "the tunnel was lost" },
  "protocol-error": { flag: "CONNECT", words: "the peer broke the protocol" },
  "no-socket": { flag: "CONNECT", words: "no socket from the keeper in time" },
  shed: { flag: "CONNECT", words: "shed: out of descriptors or memory" },
  drained: { flag: "-", words: "" },
  unanswered: { flag: "CONNECT", words: "the peer owes answers to too many connections that this pod has aborted" },
  "answer-timeout": { flag: "CONNECT", words: "no decision in time" },
  "not-http": { flag: "DENY", words: "policy judges its requests, and it is no HTTP/1" },
  "http-refused": { flag: "CONNECT", words: "a message on it is no acceptable HTTP" },
  "http-timeout": { flag: "CONNECT", words: "a body stood still" },
  overflow: { flag: "CONNECT", words: "as many connections as a DestinationRule allows are open to the service" },
  "http-silent": { flag: "-", words: "idle the longest of too many connections that are read for its pod" },
  unread: { flag: "CONNECT", words: "an end took none of the bytes that waited for it" },
  "peer-certificate-ended": { flag: "IDENTITY_ERROR", words: "the peer can no longer prove its identity" },
};

/** What `Recorder` wants to know of an end, but for bytes and duration. */
export type Ending = Pick<Outcome, "flag" | "cause" | "message" | "early">;

/**
 * The end as the engine reports it, and as we had asked for it: `asked` is the reason of our own `refuse` or `close`.
 * A reason only counts when the engine says that it was acted upon; a peer that reset first ended it itself. The engine's
 * own deadline for an answer may come before ours: then what the answer waited for is the reason.
 * @param claimants the workloads of an `address-conflict`
 */
export function endingOf(
  closed: Closed,
  asked: Refusal | null,
  viaTunnel: boolean,
  claimants: readonly Workload[] = [],
): Ending {
  if (
    asked !== null &&
    (closed.cause === "refused" || closed.cause === "closed-by-answer" || closed.cause === "answer-timeout")
  ) {
    const { flag, early } = refusals[asked];
    return { flag, cause: asked, message: wordsOf(asked, claimants), ...(early && { early }) };
  }
  const row = causes[closed.cause];
  if (closed.cause === "connect-timeout" && viaTunnel) {
    const words = "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008";
    return { flag: "NETWORK_POLICY", cause: closed.cause, message: joined(words, closed.message) };
  }
  if (closed.cause === "connect-failed" && viaTunnel && closed.detail === constants.errno.ECONNREFUSED) {
    const words = "connection refused on HBONE port 15008 each time: its node has not captured the pod";
    return { flag: row.flag, cause: closed.cause, message: joined(words, closed.message) };
  }
  const words = closed.cause === "tunnel-refused" ? `http status: ${closed.detail}` : row.words;
  return { flag: row.flag, cause: closed.cause, message: joined(words, closed.message) };
}

function joined(words: string, message: string): string {
  if (message === "") return words;
  return words === "" ? message : `${words}: ${message}`;
}
