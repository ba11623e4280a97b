// 19 · data thread · every way a request may end → Envoy's flag and details for access log and metrics. The one table of both. Pure.
import type { RequestEnded, RequestOutcome } from "../engine/events.ts";
import { statusMeant } from "../l7/grpc-status.ts";
import type { DecisionSummary } from "../observe/decision-summary.ts";
import type { HttpRefusal, RecordedRoute, RequestFlag, RequestRecord, RouteAnswer } from "../observe/request-record.ts";
import type { TryShows } from "./ejection.ts";
import type { Refusal } from "./outcome.ts";
import type { RequestSample } from "./peak-ewma.ts";

export type RequestEnding = Pick<RequestRecord, "flag" | "details" | "refused">;

type RequestEnd = Pick<RequestEnded, "outcome" | "status" | "refusal" | "responseBytes" | "notReached">;
/** `asked`: why we have ended the connection under it; null: we have not, or without a reason of ours. */
type Beside = {
  readonly asked: Refusal | null;
  readonly route: RecordedRoute | null;
  readonly tries?: FlaggedTries | undefined;
};

/**
 * `isDelayed`: by its rule's fault. `retry`: why the try that failed was the last, where its rule would have had another: there were as many as
 * may be ("spent"), or too many of others ("budget"); null: neither.
 */
export type FlaggedTries = { readonly isDelayed: boolean; readonly retry: "spent" | "budget" | null };
type EndingOf = (ended: RequestEnd, decision: DecisionSummary | null, beside: Beside) => RequestEnding;

const fromApplication: RequestEnding = { flag: "-", details: "via_upstream", refused: null };
const ending = (flag: RequestEnding["flag"], details: string, refused: HttpRefusal | null = null): RequestEnding => ({
  flag,
  details,
  refused,
});

const routed: Readonly<Record<Exclude<RouteAnswer, "policy">, RequestEnding>> = {
  "no-route": ending("NR", "route_not_found"),
  "too-many-matches": ending("NR", "route_not_found{too_many_matches}"),
  redirect: ending("-", "direct_response"),
  preflight: ending("-", "direct_response"),
  "no-backend": ending("NC", "cluster_not_found"),
  "bad-backend": ending("NC", "cluster_not_found"),
  "no-endpoint": ending("UH", "no_healthy_upstream"),
  overflow: ending("UO", "upstream_reset_before_response_started{overflow}"),
  injected: ending("FI", "fault_filter_abort"),
  "too-long": ending("-", "route_target_too_long"),
  "no-service": ending("NC", "cluster_not_found"),
};

/**
 * Words and flags are Envoy's for the same end (envoy:envoy/stream_info/stream_info.h, ResponseCodeDetailValues; its flags are described
 * in envoy:docs/root/configuration/observability/access_log/usage.rst). Envoy sets no flag where its RBAC filter denies.
 */
const endings: Readonly<Record<RequestOutcome, EndingOf>> = {
  answered: () => fromApplication,
  upgraded: () => fromApplication,
  replied: ({ status }, decision, { route }) => {
    if (decision?.reason === "limited") return ending("RL", "local_rate_limited");
    if (decision?.verdict === "deny") return ending("-", deniedText(decision));
    const answer = route?.answer ?? null;
    if (answer !== null && answer !== "policy") return routed[answer];
    return status === 503 ? ending("UH", "no_healthy_upstream") : ending("-", "internal_error");
  },
  refused: ({ refusal }) => {
    const refused = { message: "request", reason: refusal } as const;
    if (refusal === "pod-budget") return ending("OM", "overload", refused);
    return ending("DPE", refusal === "http2" ? "http2.codec_error" : "http1.codec_error", refused);
  },
  "bad-response": (ended) =>
    ending("UPE", upstreamReset(ended, "protocol_error"), { message: "response", reason: ended.refusal }),
  "reset-by-downstream": () => ending("DC", "downstream_remote_disconnect"),
  "reset-by-upstream": (ended) => ending("UC", upstreamReset(ended, "connection_termination")),
  // Of the head, of our own verdict, or of a body.
  timeout: ({ status }, decision, { route }) => {
    if (status === 408) return ending("-", "request_header_timeout");
    return status === 503 && decision === null && route === null
      ? ending("-", "decision_timeout")
      : ending("SI", "stream_idle_timeout");
  },
  "not-reached": ({ notReached }) =>
    notReached?.cause === "overflow"
      ? routed.overflow
      : ending("UF", "upstream_reset_before_response_started{connection_failure}"),
  deadline: () => ending("UT", "response_timeout"),
  cut: (_, decision, { asked, route }) => {
    if (route?.answer === "injected") return routed.injected;
    if (decision?.verdict === "deny") return ending("LR", deniedText(decision));
    return ending("LR", asked === null ? "downstream_local_disconnect" : `downstream_local_disconnect{${asked}}`);
  },
};

/**
 * How a request ended, in Envoy's flag and words (docs/metrics.md#flags-of-requests).
 * @param decision null: nobody was asked
 * @param beside what the connection and earlier tries add
 */
export function requestEndingOf(ended: RequestEnd, decision: DecisionSummary | null, beside: Beside): RequestEnding {
  const found = endings[ended.outcome](ended, decision, beside);
  const flag = besides(found.flag, beside.tries);
  return flag === found.flag ? found : { ...found, flag };
}

/** What Envoy says beside the flag of an end, as far as it says which try was the last, or that it was delayed. */
function besides(flag: RequestFlag, tries: FlaggedTries | undefined): RequestFlag {
  if (tries === undefined) return flag;
  const { retry, isDelayed } = tries;
  const retried = retry === null ? undefined : retryFlags[retry][flag];
  return retried ?? (isDelayed ? delayFlags[flag] : undefined) ?? flag;
}

type FlagsBeside = Readonly<Partial<Record<RequestFlag, RequestFlag>>>;
const delayFlags: FlagsBeside = { "-": "DI", FI: "DI,FI" };
/** In Envoy's order (envoy:envoy/stream_info/stream_info.h, the list of all flags). */
const retryFlags: Readonly<Record<"spent" | "budget", FlagsBeside>> = {
  spent: { "-": "URX", UT: "UT,URX", UF: "UF,URX", UC: "UC,URX", UPE: "URX,UPE" },
  budget: { "-": "UO", UT: "UT,UO", UF: "UF,UO", UC: "UC,UO", UPE: "UO,UPE" },
};

/** The status of a response that could not be read is ours. */
function upstreamReset({ outcome, status, responseBytes }: RequestEnd, why: string): string {
  const isOther = status !== 502 || responseBytes > 0;
  const isStarted = outcome === "bad-response" ? isOther : isOther && status !== 0;
  return `upstream_reset_${isStarted ? "after" : "before"}_response_started{${why}}`;
}

/** As Istio names its rules in Envoy (istio:pilot/pkg/security/authz/builder): `ns[shop]-policy[no-debug]-rule[0]`. */
function deniedText({ reason, policy }: DecisionSummary): string {
  if (reason === "ambiguous-path") return "path_normalization_failed";
  if (reason === "ambiguous-host") return "host_normalization_failed";
  const [, namespace, name, rule] = /^([^/]*)\/([^[]*)(?:\[(\d+)\])?$/.exec(policy) ?? [];
  const inRule = rule === undefined ? "" : `-rule[${rule}]`;
  const matched = namespace === undefined ? "none" : `ns[${namespace}]-policy[${name}]${inRule}`;
  return `rbac_access_denied_matched_policy[${matched}]`;
}

/** A status by which an endpoint says that it does not serve. */
export const isFailing = (status: number): boolean => status >= 500 || status === 429;

/** What a status says of its endpoint. */
export const shownByStatus = (status: number): TryShows =>
  status < 500 ? "served" : status === 502 || status === 503 || status === 504 ? "gateway" : "failed";

/** There were as many connections as may be: no endpoint was asked. */
const hadNoPlace = ({ notReached }: Pick<RequestEnded, "notReached">): boolean => notReached?.cause === "overflow";

/** What a request's end says of whether its endpoint serves; null: nothing. */
export function shownBy(
  ended: Pick<RequestEnded, "outcome" | "status" | "grpcStatus" | "notReached">,
): TryShows | null {
  if (hadNoPlace(ended)) return null;
  switch (ended.outcome) {
    case "answered":
    case "upgraded":
      return shownByStatus(statusMeant(ended));
    case "bad-response":
    case "reset-by-upstream":
    case "not-reached":
    case "deadline":
      return "gateway";
    default:
      return null;
  }
}

/**
 * What a request's end shows of the endpoint that had it; null: nothing. A caller that leaves has waited for so long at least.
 */
export function sampleOf(ended: RequestEnded): RequestSample | null {
  const { outcome, status, durationUs, answeredUs } = ended;
  if (hadNoPlace(ended)) return null;
  switch (outcome) {
    case "answered":
    case "upgraded":
      return { elapsedMs: answeredUs / 1_000, isFailed: isFailing(statusMeant(ended)) };
    case "bad-response":
    case "reset-by-upstream":
    case "not-reached":
    case "deadline":
      return { elapsedMs: durationUs / 1_000, isFailed: true };
    case "reset-by-downstream":
      return status === 0 ? { elapsedMs: durationUs / 1_000, isFailed: null } : null;
    default:
      return null;
  }
}
