import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuthorizationPolicy, Operation, PolicyAction } from "../mesh/policies.ts";
import type { Service } from "../mesh/service.ts";
import { evaluatorOf } from "./evaluate.ts";
import { operation, policy, rule, source, storeOf, text, workload } from "./policy.fake.ts";
import { type RequestChange, requestChanges } from "./request-changes.ts";

function changes(
  policies: readonly AuthorizationPolicy[],
  services: readonly Service[] = [],
  workloads = [workload({})],
): readonly RequestChange[] {
  const mesh = storeOf(policies, { workloads, services });
  return requestChanges(workloads, { mesh, evaluator: evaluatorOf(mesh) });
}

const gets = (name: string, action: PolicyAction, fields: Partial<Operation> = {}): AuthorizationPolicy =>
  policy(name, {
    action,
    rules: [rule({ operations: [operation({ methods: [text("GET")], ...fields })] })],
  });

const database: Service = {
  name: "db",
  namespace: "shop",
  hostname: "db.shop.svc.cluster.local",
  vips: [],
  ports: [{ name: "tcp-db", port: 5432, targetPort: 5432, appProtocol: "" }],
  selector: { app: "api" },
  endpoints: [],
  subjectAltNames: [],
  loadBalancing: {
    preference: [],
    mode: "unspecified",
    health: "only-healthy",
  },
  from: { file: "mesh.yaml", line: 1, column: 1 },
};

test("a policy without a field of HTTP changes nothing and is not listed", () => {
  assert.deepEqual(changes([policy("a", { rules: [rule({})] })]), []);
});

test("a policy is listed with the ports that are read for it, and with what its action let by before", () => {
  const of = (action: PolicyAction) => changes([gets("p", action, { ports: [8080] })])[0];
  assert.deepEqual(of("ALLOW"), {
    code: "ORL4112",
    what: "mesh.yaml:7:3: ALLOW shop/p has requests read at port 8080 of shop/api",
    why:
      "before, its rules with such fields let nobody in; from the first start of this release on the requests of HTTP/1.1 that they match " +
      "are let in. A connection that is not HTTP/1.1 keeps the verdict that it had, and so does a connection that is decided by who calls",
    fix: "ask what a request gets: orlop explain SRC DST:PORT --method GET --path /; by port: orlop describe pod/NAME",
  });
  assert.match(of("DENY")?.why ?? "", /^before, it denied each connection .* it denies the requests that they match/);
  assert.match(of("AUDIT")?.why ?? "", /^before, it reported each connection .* nothing is refused for it\. /);
  const [dry] = changes([{ ...gets("p", "DENY"), dryRun: true }]);
  assert.equal(dry?.what, "mesh.yaml:7:3: dry-run DENY shop/p has requests read at each port of shop/api");
  assert.match(dry?.why ?? "", /^before, it reported/);
});

test("ports are those of its own rules, and those that another protocol is declared for are named as such", () => {
  const closed = policy("c", {
    action: "DENY",
    rules: [rule({ operations: [operation({ ports: [9090] })] })],
  });
  const [change, ...others] = changes([gets("p", "DENY"), closed], [database]);
  assert.equal(change?.what, "mesh.yaml:7:3: DENY shop/p has requests read at each port but 9090 of shop/api");
  assert.match(
    change?.why ?? "",
    /A connection that is not HTTP\/1\.1, which port 5432 \(port name tcp-db of Service shop\/db\) is said to be, keeps/,
  );
  assert.deepEqual(others, []);
});

test("where nothing is read for it, the policy is listed with the reason", () => {
  const open = policy("open", { rules: [rule({})] });
  const [change] = changes([gets("p", "ALLOW"), open]);
  assert.equal(change?.what, "mesh.yaml:7:3: ALLOW shop/p has fields of HTTP, and has no port of shop/api read");
  assert.equal(
    change?.why,
    "an ALLOW lets every connection in (shop/open): nothing changes with the first start of this release",
  );
  const withToken = policy("t", {
    rules: [
      rule({
        sources: [source({ requestPrincipals: [text("*")] })],
        operations: [operation({ methods: [text("GET")] })],
      }),
    ],
  });
  assert.match(changes([withToken])[0]?.why ?? "", /^its rules need what no request shows: nothing changes/);
});

test("workloads with the same ports are counted, and policies without a workload of the node come last together", () => {
  const pods = ["api-1", "api-2", "api-3"].map((name, index) =>
    workload({
      name,
      uid: `c//Pod/shop/${name}`,
      addresses: [`10.0.0.${index + 2}`],
    }),
  );
  const elsewhere = ["z", "y"].map((name) => ({
    ...gets(name, "DENY"),
    selector: { app: name },
  }));
  const found = changes([gets("p", "ALLOW", { ports: [8080, 8081] }), ...elsewhere], [], pods);
  assert.deepEqual(
    found.map(({ what }) => what),
    [
      "mesh.yaml:7:3: ALLOW shop/p has requests read at port 8080, 8081 of shop/api-1 and 2 more",
      "with fields of HTTP, and without a pod of this node: shop/y, shop/z",
    ],
  );
});
