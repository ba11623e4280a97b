// bench · one decision about one request: facts out of its head, then 1,000 ALLOW rules of one workload, each with a method, paths and a
// host. Four ways in which people write such rules, and beside each what a request
// costs that no rule allows, and whose path is ambiguous.
import { requestFacts } from "../../agent/l7/request-facts.ts";
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import { type AuthorizationPolicy, emptyOperation, type Operation, type PathMatch } from "../../agent/mesh/policies.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { certificateFacts } from "../../agent/plan/connection-facts.ts";
import { evaluatorOf } from "../../agent/policy/evaluate.ts";
import { judgeRequest } from "../../agent/policy/judge-request.ts";
import { identityOf, policy, workload } from "./mesh.ts";
import { randomOf, type Times, timeEach } from "./timing.ts";

const CALLS = 50_000;
const REFUSED = 5_000;
const CLIENT = { address: "10.0.0.1", port: 40_000 };
const HOST = "api.ns-0.svc.cluster.local";

type Shape = {
  readonly paths: (nth: number) => readonly PathMatch[];
  readonly host: (nth: number) => string;
  /** A path that the rule matches. */
  readonly target: (nth: number) => string;
};

const exact = (value: string): PathMatch => ({ kind: "exact", value });
const oneHost = (): string => HOST;

/** As most APIs write their paths; the dearest of the shapes. */
export const bySegments: Shape = {
  paths: (nth) => [exact(`/api/v1/resource-${nth}`), { kind: "template", value: `/api/v1/resource-${nth}/{**}` }],
  host: oneHost,
  target: (nth) => `/api/v1/resource-${nth}/items/7?page=2`,
};

/** By name, how the rules differ from each other. */
export const shapes: Readonly<Record<string, Shape>> = {
  "third segment": bySegments,
  "first segment": {
    paths: (nth) => [{ kind: "prefix", value: `/resource-${nth}/` }],
    host: oneHost,
    target: (nth) => `/resource-${nth}/items/7?page=2`,
  },
  suffix: {
    paths: (nth) => [{ kind: "suffix", value: `/report-${nth}.pdf` }],
    host: oneHost,
    target: (nth) => `/files/2026/report-${nth}.pdf`,
  },
  host: {
    paths: () => [{ kind: "prefix", value: "/api/" }],
    host: (nth) => `tenant-${nth}.example.com`,
    target: () => "/api/v1/items/7?page=2",
  },
};

export type RequestDecider = {
  measure(): Times & { readonly deniedP50Us: number; readonly ambiguousP50Us: number };
};

export function requestDecider(shape: Shape, rules: number, seed: number): RequestDecider {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const destination = workload(0);
  const operationOf = (nth: number): Operation => ({
    ...emptyOperation,
    methods: [{ kind: "exact", value: nth % 2 === 0 ? "GET" : "POST" }],
    paths: shape.paths(nth),
    hosts: [{ kind: "exact", value: shape.host(nth) }],
  });
  const general = policy(0, 0);
  const value: AuthorizationPolicy = {
    ...general,
    rules: general.rules.flatMap((rule) =>
      Array.from({ length: rules }, (_, nth) => ({ ...rule, sources: [], operations: [operationOf(nth)] })),
    ),
  };
  store.apply([
    { kind: "workload", op: "upsert", value: destination },
    { kind: "authorization-policy", op: "upsert", value },
  ]);
  const evaluator = evaluatorOf(store);
  const target = { address: destination.addresses[0] ?? "", port: 8080 };
  const caller = identityOf(destination.namespace, "web");
  const connection: ConnectionFacts = certificateFacts({ client: CLIENT, target }, destination, caller);
  const random = randomOf(seed);
  const nths = Array.from({ length: CALLS }, () => Math.floor(random() * rules));
  const header = (): readonly string[] => [];
  const stepOf = (verdict: "allow" | "deny", isFor: (nth: number) => string) => {
    // As an engine would hand them over: new texts each.
    const heads = nths.map((nth) => ({
      method: (nth % 2 === 0) === (verdict === "allow") ? "GET" : "POST",
      target: isFor(nth),
      authority: shape.host(nth),
      header,
    }));
    return (index: number): void => {
      const head = heads[index];
      if (head !== undefined && judgeRequest(connection, requestFacts(head), evaluator).verdict !== verdict)
        throw new Error(`expected ${verdict}: ${head.method} ${head.target}`);
    };
  };
  const [allowed, denied] = [stepOf("allow", shape.target), stepOf("deny", shape.target)];
  const ambiguous = stepOf("deny", (nth) => `/.${shape.target(nth)}`);
  for (const step of [allowed, denied, ambiguous]) for (let index = 0; index < REFUSED; index++) step(index);
  return {
    measure: () => ({
      ...timeEach(CALLS, allowed),
      deniedP50Us: timeEach(REFUSED, denied).p50Us,
      ambiguousP50Us: timeEach(REFUSED, ambiguous).p50Us,
    }),
  };
}
