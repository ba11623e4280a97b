// The agent honours every field that the definition of a kind has, or says that it does not and why. The test takes each field out of an example:
// either what the agent reads of the object changes, or the agent has reported or refused that field. A field that no definition has is
// refused with its place.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { loadConfig } from "../../agent/config/load.ts";
import { ConfigError } from "../../agent/control/kinds/value.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import {
  destinationRuleFields,
  grpcRouteFields,
  httpRouteFields,
  limitPolicyFields,
  tcpRouteFields,
  tlsRouteFields,
} from "./known-fields.ts";

type Tree = { [field: string]: unknown };
type Place = readonly (string | number)[];

const fileOf = (file: string): string => new URL(`../../${file}`, import.meta.url).pathname;
const settings = loadConfig(fileOf("docs/examples/two-nodes.yaml"), {}).agent.settings;
const service = (name: string): Tree => ({
  ...{ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "shop" } },
  spec: { clusterIP: `10.96.0.${name.length}`, selector: { app: name }, ports: [{ name: "http", port: 80 }] },
});

type Said = { readonly code: string; readonly what: string; readonly why: string; readonly isPlaced: boolean };
type Outcome = { readonly read: string; readonly said: readonly Said[]; readonly isRefused: boolean };

/** What is read, without the places where it is written. */
function outcomeOf(document: Tree): Outcome {
  const text = [service("api"), service("other"), document].map((each) => JSON.stringify(each)).join("\n---\n");
  try {
    const { updates, findings } = translateTexts([{ file: "f.yaml", text }], settings);
    const read = JSON.stringify(updates, (key, value) => (key === "from" ? undefined : value));
    return { read, said: findings.map((each) => ({ ...each, isPlaced: true })), isRefused: false };
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    const said = error.problems.map(({ code, from, what, why }) => {
      return { code, what, why, isPlaced: "line" in from && from.line > 0 };
    });
    return { read: "", said, isRefused: true };
  }
}

/** Every place in the tree to which the path leads. */
function placesOf(tree: unknown, path: readonly string[], before: Place = []): readonly Place[] {
  const [step, ...rest] = path;
  if (step === undefined) return [before];
  if (typeof tree !== "object" || tree === null) return [];
  const name = step.replace(/\[\]$/, "");
  const at: unknown = (tree as Tree)[name];
  if (at === undefined) return [];
  // A list of plain values is taken out as a whole.
  if (!step.endsWith("[]") || rest.length === 0) return placesOf(at, rest, [...before, name]);
  return Array.isArray(at) ? at.flatMap((each, nth) => placesOf(each, rest, [...before, name, nth])) : [];
}

function holderOf(tree: Tree, place: Place): Tree {
  return place.slice(0, -1).reduce<unknown>((at, step) => (at as Tree)[step], tree) as Tree;
}

function without(document: Tree, place: Place): Tree {
  const copy = structuredClone(document);
  const holder: unknown = holderOf(copy, place);
  const last = place.at(-1) ?? assert.fail();
  if (Array.isArray(holder)) holder.splice(Number(last), 1);
  else delete (holder as Tree)[last];
  return copy;
}

/** "honoured"; what is said where it is not; undefined: nothing of it is anywhere. */
function fateOf(document: Tree, place: Place): "honoured" | Said | undefined {
  const whole = outcomeOf(document);
  if (whole.said.length === 0) return outcomeOf(without(document, place)).read === whole.read ? undefined : "honoured";
  // The agent has reported a field, or an object that holds it, when it reports nothing once that is taken out.
  for (let length = place.length; length > 1; length -= 1) {
    const blamed = place.slice(0, length);
    const rest = outcomeOf(without(document, blamed)).said.map(({ what }) => what);
    const gone = whole.said.find(({ what }) => !rest.includes(what));
    const name = blamed.findLast((step) => typeof step === "string") ?? "";
    if (gone?.what.includes(String(name))) return gone;
  }
  return undefined;
}

type Kind = {
  readonly fields: readonly string[];
  readonly examples: readonly Tree[];
  /** Without effect in a mesh, and nothing is said. */
  readonly silent?: readonly string[];
  /** Makes an example of a field that none has. */
  readonly missing?: (field: string) => Tree;
  readonly page: string;
};

const listed = (text: string): readonly string[] => text.trim().split("\n");

function holds(name: string, { fields, examples, silent = [], missing, page }: Kind): void {
  const text = readFileSync(fileOf(`docs/${page}`), "utf8");

  test(`${name}: each of ${fields.length} fields is honoured and on its page, or it is said why not`, () => {
    let honoured = 0;
    for (const field of fields) {
      const made = missing === undefined ? [] : [missing(field)];
      const holding = [...examples, ...made].flatMap((document) =>
        placesOf(document, field.split(".")).map((place) => ({ document, place })),
      );
      assert.ok(holding.length > 0, `no example has ${field}`);
      const fates = holding.map(({ document, place }) => fateOf(document, place));
      const leaf = field.split(".").at(-1)?.replace("[]", "") ?? "";
      if (silent.includes(field)) {
        assert.deepEqual(fates, [undefined], field);
      } else if (fates.includes("honoured")) {
        honoured += 1;
        assert.match(text, new RegExp(`\\b${leaf}\\b`), `docs/${page} says nothing of ${field}`);
      } else {
        const said = fates.find((fate) => typeof fate === "object") ?? assert.fail(`nothing is said of ${field}`);
        assert.ok(said.why !== "" && said.isPlaced, `${field}: ${JSON.stringify(said)}`);
        // What is known and not honoured, and never a value that somebody has mistyped here.
        assert.match(`${said.code} ${said.what}`, /not honoured|is no filter that is honoured|names a /, field);
      }
    }
    assert.ok(honoured > fields.length / 4, `${honoured} are honoured`);
  });

  test(`${name}: a field that no definition has is refused with its place, wherever it is`, () => {
    const objects = (tree: unknown, place: Place): readonly Place[] => {
      if (typeof tree !== "object" || tree === null) return [];
      const inner = Object.entries(tree).flatMap(([step, each]) =>
        objects(each, [...place, Array.isArray(tree) ? Number(step) : step]),
      );
      return Array.isArray(tree) ? inner : [place, ...inner];
    };
    let tried = 0;
    for (const document of examples.filter((each) => outcomeOf(each).said.length === 0))
      for (const place of objects(document.spec, ["spec"])) {
        // Labels are anybody's.
        if (place.at(-1) === "matchLabels") continue;
        const copy = structuredClone(document);
        holderOf(copy, [...place, ""]).unheardOf = 1;
        const { said, isRefused } = outcomeOf(copy);
        const about = said.find(({ what }) => what.includes("unheardOf"));
        assert.ok(
          isRefused && about?.code === "ORL4102" && about.isPlaced,
          `${place.join(".")}: ${JSON.stringify(said)}`,
        );
        tried += 1;
      }
    assert.ok(tried >= 5, `${tried} places`);
  });
}

const metadata = { name: "a", namespace: "shop" };
const parentRefs = [{ group: "", kind: "Service", name: "api", namespace: "shop", port: 80 }];
const gateway = "gateway.networking.k8s.io/v1";
const route = (kind: string, rule: Tree, spec: Tree = {}): Tree => ({
  ...{ apiVersion: gateway, kind, metadata: { ...metadata, namespace: "bank" } },
  spec: { parentRefs, rules: [rule], ...spec },
});
const far = { name: "other", namespace: "shop", port: 80 };
const edits = { set: [{ name: "a", value: "b" }], add: [{ name: "c", value: "d" }], remove: ["e"] };
const modifiers = [
  { type: "RequestHeaderModifier", requestHeaderModifier: edits },
  { type: "ResponseHeaderModifier", responseHeaderModifier: edits },
];
const mirror = (more: Tree): Tree => ({ type: "RequestMirror", requestMirror: { backendRef: far, ...more } });
const conditions = [{ type: "RegularExpression", name: "x", value: "b.*" }];
const elsewhere = { group: "example.com", kind: "Other", name: "x" };

const both = (kind: string): readonly Tree[] => [
  route(kind, {
    ...{
      name: "first",
      filters: [...modifiers, mirror({ percent: 10 }), mirror({ fraction: { numerator: 1, denominator: 7 } })],
    },
    backendRefs: [{ ...far, weight: 3, filters: modifiers }, far],
  }),
  route(kind, { backendRefs: [{ ...far, ...elsewhere }] }),
  route(kind, { filters: [mirror({ backendRef: { ...far, ...elsewhere } })] }),
  route(kind, { filters: [{ type: "ExtensionRef", extensionRef: elsewhere }] }),
  route(kind, {}, { hostnames: ["a.example"] }),
  route(kind, {}, { useDefaultGateways: "All" }),
  route(
    kind,
    {},
    { parentRefs: [{ group: "", kind: "Service", name: "api", namespace: "shop", sectionName: "http" }] },
  ),
  route(kind, { sessionPersistence: { sessionName: "x-s", type: "Header", absoluteTimeout: "1h" } }),
  route(kind, {
    sessionPersistence: { sessionName: "s", absoluteTimeout: "1h", cookieConfig: { lifetimeType: "Permanent" } },
  }),
];
const externalAuth = {
  ...{ protocol: "HTTP", backendRef: { group: "", kind: "Service", ...far }, forwardBody: { maxSize: 1 } },
  ...{ grpc: { allowedHeaders: ["a"] }, http: { path: "/", allowedHeaders: ["a"], allowedResponseHeaders: ["b"] } },
};
const redirect = { scheme: "https", hostname: "h.example", port: 8443, statusCode: 301 };
const cors = {
  ...{ allowOrigins: ["https://a.example"], allowCredentials: true, allowMethods: ["GET"], allowHeaders: ["x-a"] },
  ...{ exposeHeaders: ["x-b"], maxAge: 7 },
};
const rewrite = (path: Tree): Tree => ({ type: "URLRewrite", urlRewrite: { hostname: "h.example", path } });
const toPath = (path: Tree): Tree => ({ type: "RequestRedirect", requestRedirect: { ...redirect, path } });
const [whole, ofPrefix] = [
  { type: "ReplaceFullPath", replaceFullPath: "/z" },
  { type: "ReplacePrefixMatch", replacePrefixMatch: "/z" },
];
const onPrefix = [{ path: { value: "/a" } }];

holds("HTTPRoute", {
  fields: listed(httpRouteFields),
  silent: ["spec.useDefaultGateways"],
  page: "routes.md",
  examples: [
    ...both("HTTPRoute"),
    route("HTTPRoute", {
      matches: [{ path: { type: "Exact", value: "/a" }, method: "GET", headers: conditions, queryParams: conditions }],
      filters: [rewrite(whole), { type: "CORS", cors }],
      ...{ backendRefs: [far], timeouts: { request: "5s", backendRequest: "1s" } },
      retry: { codes: [503], attempts: 3, backoff: "50ms" },
    }),
    route("HTTPRoute", { matches: onPrefix, filters: [rewrite(ofPrefix)], backendRefs: [far] }),
    route("HTTPRoute", { matches: onPrefix, filters: [toPath(whole)] }),
    route("HTTPRoute", { matches: onPrefix, filters: [toPath(ofPrefix)] }),
    route("HTTPRoute", { filters: [{ type: "ExternalAuth", externalAuth }] }),
  ],
});

holds("GRPCRoute", {
  fields: listed(grpcRouteFields),
  silent: ["spec.useDefaultGateways"],
  page: "routes.md",
  examples: [
    ...both("GRPCRoute"),
    route("GRPCRoute", {
      matches: [{ method: { type: "RegularExpression", service: "a.*", method: "B.*" }, headers: conditions }],
      backendRefs: [far],
    }),
  ],
});

for (const [kind, fields, more] of [
  ["TCPRoute", tcpRouteFields, {}],
  ["TLSRoute", tlsRouteFields, { hostnames: ["a.example", "b.example"] }],
] as const)
  holds(kind, {
    fields: listed(fields),
    // A rule is alone, and nothing names it.
    silent: ["spec.rules[].name", "spec.useDefaultGateways"],
    page: "routes.md",
    examples: [
      route(kind, { name: "first", backendRefs: [{ ...far, weight: 3 }, far] }, more),
      route(kind, { backendRefs: [{ ...far, ...elsewhere }] }, more),
      route(kind, { backendRefs: [far] }, { ...more, useDefaultGateways: "All" }),
      route(
        kind,
        { backendRefs: [far] },
        {
          ...more,
          parentRefs: [{ group: "", kind: "Service", name: "api", namespace: "shop", sectionName: "http" }],
        },
      ),
    ],
  });

const destinationRule = (spec: Tree): Tree => ({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata,
  spec: { host: "api", ...spec },
});
const balanced = (loadBalancer: Tree): Tree => destinationRule({ trafficPolicy: { loadBalancer } });
const hashed = (consistentHash: Tree): Tree => balanced({ consistentHash });

holds("DestinationRule", {
  fields: listed(destinationRuleFields),
  page: "resilience.md",
  examples: [
    destinationRule({
      trafficPolicy: {
        connectionPool: {
          tcp: { connectTimeout: "1s", maxConnections: 3 },
          http: { http2MaxRequests: 7, http1MaxPendingRequests: 4, idleTimeout: "5s", maxRequestsPerConnection: 9 },
        },
        outlierDetection: {
          ...{ consecutive5xxErrors: 7, consecutiveGatewayErrors: 3, baseEjectionTime: "9s" },
          ...{ maxEjectionPercent: 50, minHealthPercent: 20 },
        },
        loadBalancer: { simple: "RANDOM", warmup: { duration: "9s", minimumPercent: 20, aggression: 2 } },
      },
    }),
    {
      ...destinationRule({ trafficPolicy: { outlierDetection: { interval: "2s" } } }),
      metadata: { ...metadata, annotations: { "orlop.dev/success-rate": "{}" } },
    },
    hashed({ httpHeaderName: "x", ringHash: { minimumRingSize: 7 } }),
    hashed({ httpQueryParameterName: "x", minimumRingSize: 7 }),
    hashed({ useSourceIp: true, maglev: { tableSize: 251 } }),
    hashed({ httpCookie: { name: "x" } }),
    balanced({ warmupDurationSecs: "9s" }),
    balanced({ localityLbSetting: { failoverPriority: ["kubernetes.io/hostname"] } }),
    balanced({ localityLbSetting: { enabled: false } }),
  ],
  missing: (field) => {
    const made = destinationRule({});
    let at: unknown = made;
    const steps = field.split(".");
    for (const [nth, step] of steps.entries()) {
      const name = step.replace("[]", "");
      const next: Tree = {};
      const value = nth === steps.length - 1 ? "x" : next;
      const known = (at as Tree)[name];
      if (typeof known === "object" && nth < steps.length - 1) {
        at = known;
        continue;
      }
      if (name !== "host") (at as Tree)[name] = step.endsWith("[]") ? [value] : value;
      // A key needs its name.
      if (name === "httpCookie") next.name = "x";
      at = next;
    }
    return made;
  },
});

const limitPolicy = (spec: Tree): Tree => ({
  apiVersion: "orlop.dev/v1alpha1",
  kind: "LimitPolicy",
  metadata,
  spec: { local: { requests: 7, per: "minute", burst: 3 }, ...spec },
});

holds("LimitPolicy", {
  fields: listed(limitPolicyFields),
  page: "limits.md",
  examples: [
    limitPolicy({
      ...{ selector: { matchLabels: { app: "api" } }, mode: "shadow", priority: 5, per: ["source"] },
      match: {
        ...{ identities: ["cluster.local/ns/shop/sa/web"], namespaces: ["shop"], ports: [8080], methods: ["GET"] },
        ...{ paths: ["/a"], headers: [{ name: "x", values: ["y"] }] },
      },
    }),
    limitPolicy({ match: { grpcMethods: ["a.B/C"] } }),
  ],
});
