// daemonset/control.yaml: its rights are what `orlop control` asks of an API server and nothing else, its configuration is read as it is, and its pods
// have no privilege.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { FakeApi } from "../../agent/authority/api.fake.ts";
import { ClusterApi } from "../../agent/authority/cluster.ts";
import { readControlConfiguration } from "../../agent/authority/configuration.ts";
import { RootKeeper } from "../../agent/authority/root-keeper.ts";
import { ROUTE_CONTROLLER } from "../../agent/authority/route-status.ts";
import { AGENT_USER } from "../../agent/control/kinds/node-config.ts";

type Rule = {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
};
type Container = { readonly securityContext: Readonly<Record<string, unknown>>; readonly args: readonly string[] };
type Document = {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly template: {
      readonly spec: { readonly securityContext: object; readonly containers: readonly Container[] };
    };
  };
};

const documents = parseAllDocuments(readFileSync(new URL("../../daemonset/control.yaml", import.meta.url), "utf8")).map(
  (document) => {
    assert.deepEqual([...document.errors, ...document.warnings], []);
    return document.toJS() as Document;
  },
);
const only = (kind: string): Document => documents.find((document) => document.kind === kind) ?? assert.fail(kind);

function configuration(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "orlop-control-manifest-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "control.yaml");
  writeFileSync(file, only("ConfigMap").data?.["control.yaml"] ?? "");
  return readControlConfiguration(file, { KUBERNETES_SERVICE_HOST: "10.96.0.1" }).spec;
}

/** `where verb group/resource name` for each right. */
const rights = (kind: string, where: string): readonly string[] =>
  (only(kind).rules ?? []).flatMap(({ apiGroups, resources, resourceNames = ["*"], verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) =>
        resourceNames.flatMap((name) => verbs.map((verb) => `${where} ${verb} ${group}/${resource} ${name}`)),
      ),
    ),
  );

/** The right that a request needs (kubernetes.io, "Determine the request verb"). */
function rightOf(asked: string): string {
  const [method = "", url = ""] = asked.split(" ");
  const { pathname } = new URL(url, "https://api");
  const form = /^\/(?:api|apis\/([^/]+))\/v1(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?$/;
  const [, group = "", namespace, resource = "", name] = form.exec(pathname) ?? assert.fail(pathname);
  const verb = { POST: "create", PUT: "update", GET: name === undefined ? "list" : "get" }[method];
  const isOurs = namespace === "orlop-system" && resource !== "pods";
  return `${isOurs ? "own" : "cluster"} ${verb} ${group}/${resource} ${isOurs ? (name ?? "*") : "*"}`;
}

test("the roles are what the program asks: nothing is missing, and nothing is more", async (t) => {
  const { namespace, rootSecret: secret, rootConfigMap: configMap, trustDomain } = configuration(t);
  const fake = new FakeApi();
  const api = new ClusterApi(fake.ask);
  const clock = { now: Date.now() };
  const keeper = new RootKeeper(
    { namespace, secret, configMap, trustDomain, spreadMs: 0, keepMs: 1_000 },
    { api, wallMs: () => clock.now },
  );
  const { signal } = new AbortController();
  await keeper.look(signal);
  // Somebody changes the roots: they are written again.
  const path = `/api/v1/namespaces/${namespace}/configmaps/${configMap}`;
  fake.put(path, { data: { "root-cert.pem": "" } });
  await keeper.look(signal);
  await api.review("token", "orlop-ca", signal);
  await api.podsOf("shop", "web", "node-1", signal);
  await api.pod("orlop-system", "agent", signal);
  const needed = new Set(fake.asked.map(rightOf));
  assert.deepEqual([...needed].toSorted(), [...rights("ClusterRole", "cluster"), ...rights("Role", "own")].toSorted());
});

test("its pods are not root, have no capability and write nowhere; the configuration is where the program looks", () => {
  const { securityContext, containers } = only("Deployment").spec?.template.spec ?? assert.fail();
  assert.deepEqual(securityContext, {
    ...{ runAsNonRoot: true, runAsUser: AGENT_USER, runAsGroup: AGENT_USER, fsGroup: AGENT_USER },
    seccompProfile: { type: "RuntimeDefault" },
  });
  for (const { securityContext: own, args } of containers) {
    assert.deepEqual(own, {
      ...{ privileged: false, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
      capabilities: { drop: ["ALL"] },
    });
    assert.deepEqual(args, ["control", "-c", "/etc/orlop/control/control.yaml"]);
  }
});

test("the right to patch nodes comes with the policy that holds it to one change, and the policy is made first", async () => {
  const text = readFileSync(new URL("../../daemonset/taint.yaml", import.meta.url), "utf8");
  const made = parseAllDocuments(text).map((document) => {
    assert.deepEqual([...document.errors, ...document.warnings], []);
    return document.toJS();
  });
  assert.deepEqual(
    made.map(({ kind }) => kind),
    [
      ...["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"],
      ...["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ],
  );
  const [policy, binding, nodes, , pods] = made;
  assert.deepEqual([policy.spec.failurePolicy, binding.spec.validationActions], ["Fail", ["Deny"]]);
  assert.equal(binding.spec.policyName, policy.metadata.name);
  const account = "system:serviceaccount:orlop-system:orlop-control";
  assert.equal(policy.spec.matchConditions[0].expression, `request.userInfo.username == "${account}"`);
  assert.deepEqual(nodes.rules, [{ apiGroups: [""], resources: ["nodes"], verbs: ["get", "patch"] }]);
  assert.deepEqual(pods.rules, [{ apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] }]);
  for (const { subjects } of made.filter(({ kind }) => kind.endsWith("RoleBinding")))
    assert.deepEqual(subjects, [{ kind: "ServiceAccount", name: "orlop-control", namespace: "orlop-system" }]);
});

test("daemonset/route-status.yaml gives statuses of routes and one Lease, under a policy that holds it to entries of its own", () => {
  const text = readFileSync(new URL("../../daemonset/route-status.yaml", import.meta.url), "utf8");
  const made = parseAllDocuments(text).map((document) => {
    assert.deepEqual([...document.errors, ...document.warnings], []);
    return document.toJS();
  });
  assert.deepEqual(
    made.map(({ kind }) => kind),
    [
      ...["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"],
      ...["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ],
  );
  const [policy, binding, cluster, , own] = made;
  assert.deepEqual([policy.spec.failurePolicy, binding.spec.validationActions], ["Fail", ["Deny"]]);
  assert.equal(binding.spec.policyName, policy.metadata.name);
  assert.ok(policy.spec.validations[1].expression.includes(`"${ROUTE_CONTROLLER}"`));
  const rights = (rules: readonly Rule[]): readonly string[] =>
    rules.map(({ resources, resourceNames = [], verbs }) => [...resources, ...resourceNames, ...verbs].join(" "));
  assert.deepEqual(rights(cluster.rules), [
    "httproutes grpcroutes tlsroutes tcproutes list watch",
    "httproutes/status grpcroutes/status tlsroutes/status tcproutes/status patch",
    "services list watch",
    `customresourcedefinitions ${["http", "grpc", "tls", "tcp"].map((of) => `${of}routes.gateway.networking.k8s.io`).join(" ")} get`,
  ]);
  assert.deepEqual(rights(own.rules), ["leases create", "leases orlop-control-status get update"]);
  for (const { subjects } of made.filter(({ kind }) => kind.endsWith("RoleBinding")))
    assert.deepEqual(subjects, [{ kind: "ServiceAccount", name: "orlop-control", namespace: "orlop-system" }]);
});
