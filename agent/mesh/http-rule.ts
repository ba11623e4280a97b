// any thread · routes of HTTP as values: what a request must show, what becomes of it, who answers. A route of any API is made into
// these. Plain data.
import type { HttpFault } from "./http-fault.ts";
import type { SourceRef } from "./source-ref.ts";

export type NamedValue = { readonly name: string; readonly value: string };

/**
 * Canonical (agent/l7/canonical.ts). A prefix has no slash at its end, and is empty where it takes every path. An expression takes whole
 * texts (agent/l7/expression.ts).
 */
export type PathCondition = { readonly kind: "exact" | "prefix" | "expression"; readonly value: string };
export type ValueCondition = NamedValue & { readonly kind: "exact" | "expression" };

/** All of it must hold. */
export type HttpMatch = {
  readonly path: PathCondition;
  /** null: any. */
  readonly method: string | null;
  /** Names in lower case, each once. */
  readonly headers: readonly ValueCondition[];
  /** Decoded; each name once. */
  readonly query: readonly ValueCondition[];
  /** Of a GRPCRoute, whose matches have an order of their own: the first number that differs decides, and the greater comes first. */
  readonly rank?: readonly number[];
};

/** What becomes of the fields of a message: `remove`, then `set`, then `add`. Names in lower case. */
export type FieldEdits = {
  readonly set: readonly NamedValue[];
  readonly add: readonly NamedValue[];
  readonly remove: readonly string[];
};
export const noEdits: FieldEdits = Object.freeze({ set: [], add: [], remove: [] });

/** "full": in place of the whole path. "prefix": in place of the prefix by which the request matched. */
export type PathReplacement = { readonly kind: "full" | "prefix"; readonly value: string };

/** null: as the request has it. */
export type Rewrite = { readonly hostname: string | null; readonly path: PathReplacement | null };
export type Redirect = Rewrite & {
  readonly scheme: "http" | "https" | null;
  readonly port: number | null;
  readonly status: 301 | 302 | 303 | 307 | 308;
};

/** Which pages of other origins may read what the rule answers. A star alone is all of them. */
export type Cors = {
  /** Canonical (agent/l7/cors.ts); a star may be a host's first labels, or the whole host. */
  readonly origins: readonly string[];
  /** Whether a browser may send cookies and the like. */
  readonly credentials: boolean;
  readonly methods: readonly string[];
  /** Of requests, in lower case. */
  readonly headers: readonly string[];
  /** Of responses, in lower case. */
  readonly exposes: readonly string[];
  /** How long a browser may keep the answer. */
  readonly maxAgeSeconds: number;
};

/** A share of a rule's requests. */
export type RouteBackend = {
  /** `<namespace>/<name>` of a Service; null: something that is no Service, so that its share cannot be sent anywhere. */
  readonly service: string | null;
  /** Of the Service; null: none was written. */
  readonly port: number | null;
  /** Of all weights of the rule; a whole number ≥ 0. */
  readonly weight: number;
  /** After those of the rule. */
  readonly requestEdits: FieldEdits;
  readonly responseEdits: FieldEdits;
};

/** Gets copies of a share of the rule's requests; what it answers is nobody's. */
export type RouteMirror = {
  /** Its weight says nothing. */
  readonly backend: RouteBackend;
  /** So many of `denominator`, which is 1 at least; not more than it. */
  readonly numerator: number;
  readonly denominator: number;
};

/** When a request that failed at its endpoint is tried again. */
export type RetryRule = {
  /** Statuses of a response that does not count; 400 to 599. */
  readonly codes: readonly number[];
  /** How often, beside the first try. */
  readonly attempts: number;
  /** At least so long before a retry. */
  readonly backoffMs: number;
};

/** A session's requests go to the same endpoint. */
export type SessionPersistence = {
  readonly by: "cookie" | "header";
  /** Of the cookie, or of the header in lower case; null: the agent names it by the rule. */
  readonly name: string | null;
  /** Milliseconds from its begin; 0: no end but that of its endpoint. */
  readonly lastsMs: number;
  /** Of a cookie: a browser keeps it until then, also when it is closed. */
  readonly isPermanent: boolean;
};

export type HttpRule = {
  /** Empty: it has none. */
  readonly name: string;
  /** Any of them; there is one at least. */
  readonly matches: readonly HttpMatch[];
  readonly requestEdits: FieldEdits;
  readonly responseEdits: FieldEdits;
  readonly rewrite: Rewrite | null;
  /** The answer; then there is no backend. */
  readonly redirect: Redirect | null;
  /** null: the application says who may read it. */
  readonly cors: Cors | null;
  readonly backends: readonly RouteBackend[];
  /** Milliseconds from the head of the request to the end of the response; 0: no limit. */
  readonly timeoutMs: number;
  /** The same of one attempt at a backend; 0: no limit of its own. */
  readonly tryTimeoutMs: number;
  /** null: what may have been processed is not tried again. */
  readonly retry: RetryRule | null;
  /** Absent: each request is balanced for itself. */
  readonly session?: SessionPersistence;
  /** Absent: nobody gets copies. */
  readonly mirrors?: readonly RouteMirror[];
  /** Absent: nothing is to go wrong. */
  readonly fault?: HttpFault;
  readonly from: SourceRef;
};

/** Which requests a route is about: those to a Service's virtual address, of one port, or of all. */
export type RouteParent = {
  /** `<namespace>/<name>`. */
  readonly service: string;
  readonly port: number | null;
  /** The port's name; null: whatever its name. */
  readonly portName: string | null;
};

/** The object that it was made from. Routes of GRPCRoute about a port take the place of those of HTTPRoute. */
export type RouteKind = "HTTPRoute" | "GRPCRoute";

export type HttpRoute = {
  readonly kind: RouteKind;
  readonly name: string;
  readonly namespace: string;
  readonly parents: readonly RouteParent[];
  /** Milliseconds since 1970; 0: not known, as of a file. Of equal matches the oldest route's counts. */
  readonly createdMs: number;
  readonly rules: readonly HttpRule[];
  readonly from: SourceRef;
};
