import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuthorizationPolicy, Operation, PathMatch } from "../mesh/policies.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import { evaluatorOf } from "./evaluate.ts";
import { judgeRequest } from "./judge-request.ts";
import { condition, facts, operation, policy, request, rule, source, storeOf, text, workload } from "./policy.fake.ts";
import { type RequestWarning, requestWarnings } from "./request-warnings.ts";

const from = { file: "mesh.yaml", line: 1, column: 1 };

function service(name: string, ports: readonly Partial<ServicePort>[], fields: Partial<Service> = {}): Service {
  return {
    name,
    namespace: "shop",
    hostname: `${name}.shop.svc.cluster.local`,
    vips: [],
    ports: ports.map((port) => ({
      name: "",
      port: 80,
      targetPort: 8080,
      appProtocol: "",
      ...port,
    })),
    selector: { app: "api" },
    endpoints: [],
    subjectAltNames: [],
    loadBalancing: {
      preference: [],
      mode: "unspecified",
      health: "only-healthy",
    },
    from,
    ...fields,
  };
}

function warnings(
  policies: readonly AuthorizationPolicy[],
  services: readonly Service[] = [],
  workloads = [workload({})],
): readonly RequestWarning[] {
  const mesh = storeOf(policies, { workloads, services });
  return requestWarnings(workloads, { mesh, evaluator: evaluatorOf(mesh) });
}

const template = (value: string): PathMatch => ({ kind: "template", value });
const of = (
  name: string,
  action: "ALLOW" | "DENY",
  ...operations: readonly Partial<Operation>[]
): AuthorizationPolicy =>
  policy(name, {
    action,
    rules: [rule({ operations: operations.map(operation) })],
  });
const denyAdmin = of("d", "DENY", { paths: [text("/admin")] });
const codes = (...policies: readonly AuthorizationPolicy[]): string =>
  warnings(policies)
    .map(({ code }) => code)
    .join();

test("a DENY by exact path is reported with its rule and line, unless something closes what lies below the path", () => {
  const [warning] = warnings([denyAdmin]);
  assert.equal(warning?.code, "ORL4109");
  assert.equal(
    warning?.what,
    "mesh.yaml:7:3: DENY shop/d[0] closes /admin by exact text alone, and nothing else closes shop/api",
  );
  assert.match(warning?.why ?? "", /^\/admin\/x, /);
  assert.match(warning?.fix ?? "", /"\/admin\/\{\*\*\}"/);

  const below: readonly PathMatch[] = [text("/admin*"), text("/admin/*"), template("/admin/{**}"), text("*")];
  for (const match of below) {
    assert.equal(codes(of("d", "DENY", { paths: [text("/admin"), match] })), "", JSON.stringify(match));
    assert.equal(codes(denyAdmin, of("e", "DENY", { paths: [match] })), "", JSON.stringify(match));
  }
});

test("an ALLOW closes a path if it lists paths, and the one below is none of them", () => {
  assert.equal(codes(denyAdmin, of("a", "ALLOW", { paths: [text("/public/*")] })), "");
  assert.equal(codes(denyAdmin, policy("a", { rules: [] })), "");
  assert.equal(codes(denyAdmin, of("a", "ALLOW", { paths: [text("/*")] })), "ORL4109");
  assert.equal(codes(denyAdmin, of("a", "ALLOW", { methods: [text("GET")] })), "ORL4109");
  const shop = rule({ sources: [source({ namespaces: [text("shop")] })] });
  assert.equal(codes(denyAdmin, policy("a", { rules: [shop] })), "ORL4109");
  const closed = of("a", "ALLOW", {
    paths: [text("/*")],
    notPaths: [text("/admin*")],
  });
  assert.equal(codes(denyAdmin, closed), "");
  // What is allowed at other ports, with other methods, or by a rule that no request can meet, lets nothing by.
  const denyAt = of("d", "DENY", {
    paths: [text("/admin")],
    methods: [text("DELETE")],
    ports: [8080],
  });
  assert.equal(codes(denyAt, of("a", "ALLOW", { methods: [text("GET")] })), "");
  assert.equal(codes(denyAt, of("a", "ALLOW", { ports: [9090] })), "");
  assert.equal(codes(denyAt, of("a", "ALLOW", { methods: [text("GET"), text("D*")] })), "ORL4109");
  const tokens = rule({
    sources: [source({ requestPrincipals: [text("*")] })],
  });
  assert.equal(codes(denyAdmin, policy("a", { rules: [tokens] })), "");
});

test("an ALLOW of all but an exact path has the same hole", () => {
  const but = of("a", "ALLOW", { notPaths: [text("/admin")] });
  assert.match(warnings([but])[0]?.what ?? "", /ALLOW shop\/a\[0\] leaves out \/admin by exact text alone/);
  assert.equal(codes(of("a", "ALLOW", { notPaths: [text("/admin"), text("/admin/*")] })), "");
  assert.equal(codes(but, of("d", "DENY", { paths: [text("/admin/*")] })), "");
  assert.equal(codes(of("a", "ALLOW", { paths: [text("/a*")], notPaths: [text("/admin")] })), "ORL4109");
  assert.equal(codes(of("a", "ALLOW", { paths: [text("/b*")], notPaths: [text("/admin")] })), "");
});

test("what is not enforced, and templates that nobody can read, are not reported", () => {
  assert.equal(codes({ ...denyAdmin, dryRun: true }), "");
  assert.equal(codes({ ...denyAdmin, action: "AUDIT" }), "");
  assert.equal(
    codes(of("d", "DENY", { paths: [template("/{x}")] }), of("a", "ALLOW", { paths: [template("/{x}")] })),
    "",
  );
});

test("replicas have one warning", () => {
  const replicas = ["api-1", "api-2", "api-3"].map((name, index) =>
    workload({
      name,
      uid: `c//Pod/shop/${name}`,
      addresses: [`10.0.0.${index + 2}`],
    }),
  );
  const found = warnings([denyAdmin], [], replicas);
  assert.equal(found.length, 1);
  assert.match(found[0]?.what ?? "", /closes shop\/api-1 and 2 more$/);
});

test("a rule with many paths, and a port under many rules, have one warning each", () => {
  const paths = ["/admin", "/debug", "/metrics"].map(text);
  const [first, ...others] = warnings([of("d", "DENY", { paths }, { paths: [text("/admin")], ports: [8080] })]);
  assert.match(first?.what ?? "", /DENY shop\/d\[0\] closes \/admin and 2 more by exact text alone/);
  assert.deepEqual(others, []);
  const two = policy("g", {
    rules: [rule({ operations: [operation({ methods: [text("GET")] })] }), gets.rules].flat(),
  });
  const found = warnings([two], [service("db", [{ name: "tcp" }])]);
  assert.deepEqual(
    found.map(({ what }) => what.replace(/.*: /, "")),
    ["shop/g[0] and 1 more"],
  );
});

test("the judge agrees: the path is refused, and the spelling that the warning names is let through", () => {
  const but = of("a", "ALLOW", { notPaths: [text("/admin")] });
  for (const policies of [[denyAdmin], [but], [denyAdmin, of("a", "ALLOW", { methods: [text("GET")] })]]) {
    const mesh = storeOf(policies);
    const [spelled = ""] = warnings(policies)[0]?.why.split(",") ?? [];
    const verdict = (target: string): string => judgeRequest(facts({}), request({ target }), evaluatorOf(mesh)).verdict;
    assert.deepEqual([verdict("/admin"), verdict("/admin/"), verdict(spelled)], ["deny", "deny", "allow"], spelled);
  }
});

test("a policy that is closed since a request would cost too much is reported, with what it is closed for", () => {
  const when = Array.from({ length: 9_000 }, (_, at) =>
    condition("request.headers[x-a]", { http: true, strings: [text(`${at}`)] }),
  );
  const found = warnings([policy("big", { action: "DENY", rules: [rule({ when })] })]);
  assert.deepEqual(
    found.map(({ code, what }) => [code, what]),
    [
      [
        "ORL4116",
        "mesh.yaml:7:3: DENY shop/big is closed for shop/api: with it a request would be compared 9005 times",
      ],
    ],
  );
});

const gets = of("g", "ALLOW", { methods: [text("GET")] });

test("a rule on requests that holds at a port declared as no HTTP is reported, with who declares it", () => {
  const db = service("db", [{ name: "tcp-db", port: 5432, targetPort: 5432 }, { name: "http" }]);
  const found = warnings([gets], [db]);
  assert.deepEqual(
    found.map(({ code, what }) => [code, what]),
    [
      [
        "ORL4110",
        "mesh.yaml:7:3: HTTP rules hold at port 5432 of shop/api, which is no HTTP (port name tcp-db of Service shop/db): shop/g[0]",
      ],
    ],
  );
  assert.deepEqual(warnings([of("g", "ALLOW", { methods: [text("GET")], ports: [8080] })], [db]), []);
  assert.deepEqual(warnings([gets, policy("all", { rules: [rule({})] })], [db]), []);
  assert.deepEqual(warnings([policy("a", { rules: [rule({})] })], [db]), []);
});

test("a port of HTTP/2 under such a rule is read, and no warning", () => {
  const grpc = service("api", [{ appProtocol: "grpc", targetPort: "rpc" }]);
  assert.deepEqual(warnings([gets], [grpc], [workload({ ports: { rpc: 9000 } })]), []);
});
