// any thread · rules of routes as operators read them. Pure.
import { faultText } from "./http-fault.ts";
import type { FieldEdits, HttpMatch, HttpRule, RouteBackend, RouteMirror, ValueCondition } from "./http-rule.ts";

/** `GET /a/* with x-role=admin and ?page=2`. A star is the rest of a path, by whole segments; behind `~` is an expression. */
export function matchText({ path, method, headers, query }: HttpMatch): string {
  const verb = method === null ? "" : `${method} `;
  const more = [...headers.map(conditionText), ...query.map((pair) => `?${conditionText(pair)}`)];
  return `${verb}${pathText(path)}${more.length === 0 ? "" : ` with ${more.join(" and ")}`}`;
}

function pathText({ kind, value }: HttpMatch["path"]): string {
  if (kind === "expression") return `~${value}`;
  return kind === "exact" ? value : `${value}/*`;
}

const conditionText = ({ kind, name, value }: ValueCondition): string =>
  `${name}${kind === "expression" ? "~" : "="}${value}`;

/** What becomes of a request that the rule takes. */
export function outcomeText({ redirect, backends, mirrors = [] }: HttpRule): string {
  if (redirect !== null) return `redirect ${redirect.status}`;
  return [sharesText(backends, "500"), ...mirrors.map(mirrorText)].join(", ");
}

/** @param answer what becomes of a share that goes nowhere */
export function sharesText(backends: readonly Share[], answer: "500" | "refused"): string {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return `${answer}: no backend`;
  return backends.map((backend) => backendText(backend, total, answer)).join(", ");
}

type Share = Pick<RouteBackend, "service" | "port" | "weight">;

function backendText({ service, port, weight }: Share, total: number, answer: string): string {
  const to = service === null || port === null ? `${answer}: no backend` : `${service}:${port}`;
  return weight === total ? to : `${percent(weight / total)} ${to}`;
}

const mirrorText = ({ backend: { service, port }, numerator, denominator }: RouteMirror): string =>
  `mirror ${numerator === denominator ? "" : `${percent(numerator / denominator)} `}to ${service === null || port === null ? "nobody" : `${service}:${port}`}`;

/** Whole percents, where they are not too rough. */
function percent(share: number): string {
  const whole = Math.round(share * 100);
  return Math.abs(whole - share * 100) < 0.05 ? `${whole} %` : `${(share * 100).toFixed(1)} %`;
}

/** What of the request and its response changes, and its limits; empty: nothing. */
export function changesText(rule: HttpRule): string {
  const { rewrite, cors, requestEdits, responseEdits, timeoutMs, tryTimeoutMs, fault, session } = rule;
  return [
    rewrite?.hostname != null && `host ${rewrite.hostname}`,
    rewrite?.path != null &&
      `path ${rewrite.path.kind === "full" ? rewrite.path.value : `prefix ${rewrite.path.value}`}`,
    cors !== null && `CORS ${cors.origins.join(" ") || "nobody"}`,
    editsText("request", requestEdits),
    editsText("response", responseEdits),
    timeoutMs > 0 && `within ${timeoutMs} ms`,
    tryTimeoutMs > 0 && `the backend within ${tryTimeoutMs} ms`,
    session !== undefined && `sessions by ${session.by} ${session.name ?? "of the agent's"}`,
    fault !== undefined && faultText(fault),
  ]
    .filter((part) => part !== false && part !== "")
    .join(", ");
}

function editsText(of: "request" | "response", { set, add, remove }: FieldEdits): string {
  const edits = [
    ...remove.map((name) => `-${name}`),
    ...set.map(({ name, value }) => `${name}=${value}`),
    ...add.map(({ name, value }) => `+${name}=${value}`),
  ];
  return edits.length === 0 ? "" : `${of} ${edits.join(" ")}`;
}
