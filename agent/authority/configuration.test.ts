// The configuration of `orlop control`: defaults, the API server, and what is refused with its place.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ConfigError, problemText } from "../control/kinds/value.ts";
import { readControlConfiguration } from "./configuration.ts";

const HEAD = "apiVersion: orlop.dev/v1alpha1\nkind: ControlConfig\nspec:\n";
const POD = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };

function file(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-control-config-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "control.yaml"), text);
  return join(folder, "control.yaml");
}

test("every field has a default, and in a pod the API server is known", (t) => {
  const { spec, api } = readControlConfiguration(file(t, HEAD.replace("spec:\n", "spec: {}\n")), POD);
  assert.equal(api.server, "https://[fd00::1]:443");
  assert.deepEqual(
    [spec.agentAccounts, spec.audience, spec.rootSecret, spec.rootConfigMap, spec.leafTtlSeconds, spec.listen.port],
    [["orlop-system/orlop-agent"], "orlop-ca", "orlop-control-root", "orlop-root-cert", 86_400, 15_012],
  );
});

for (const [name, text, env, expected] of [
  [
    "an unknown field",
    `${HEAD}  audiance: x\n`,
    POD,
    /:4:3: spec has no field "audiance".*\n.*\n.*did you mean audience/,
  ],
  [
    "an account without its namespace",
    `${HEAD}  agentAccounts: [orlop-agent]\n`,
    POD,
    /namespace\/name of a service account/,
  ],
  ["no account", `${HEAD}  agentAccounts: []\n`, POD, /at least 1/],
  ["a Secret that is a path", `${HEAD}  rootSecret: ../x\n`, POD, /a name of Kubernetes/],
  ["no API server", `${HEAD}  audience: x\n`, {}, /no kubeconfig, and this is no pod/],
  ["no ControlConfig", "kind: NodeConfig\n", POD, /no ControlConfig/],
  ["two", `${HEAD}  audience: x\n---\n${HEAD}  audience: y\n`, POD, /a second ControlConfig/],
] as const) {
  test(`refused: ${name}`, (t) => {
    assert.throws(
      () => readControlConfiguration(file(t, text), env),
      (error) => error instanceof ConfigError && expected.test(error.problems.map(problemText).join("\n")),
    );
  });
}

test("refused: a file that is not there", () => {
  assert.throws(() => readControlConfiguration("/nowhere/control.yaml", POD), ConfigError);
});
