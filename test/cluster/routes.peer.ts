// test cluster · statuses of routes on a real API server with Gateway API's own definition: two replicas of `orlop control` with the rights of
// daemonset/control.yaml and daemonset/route-status.yaml and no others.
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ask, send } from "./api.ts";
import { make, makeNamespace, tokenFor } from "./authority-objects.ts";
import { startCluster } from "./cluster.ts";
import { freePorts } from "./free-ports.ts";
import { gatewayDefinition } from "./gateway-definitions.ts";
import { testCluster } from "./test-cluster.ts";

const PATIENCE_MS = 60_000;
const SYSTEM = "orlop-system";
const ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes";
const STREAMS = { TLSRoute: ROUTES.replace("http", "tls"), TCPRoute: ROUTES.replace("http", "tcp") } as const;
const main = fileURLToPath(new URL("../../agent/main.ts", import.meta.url));
const manifest = (name: string): string => fileURLToPath(new URL(`../../daemonset/${name}.yaml`, import.meta.url));

const folder = mkdtempSync(path.join(tmpdir(), "orlop-routes-cluster-"));
const at = (name: string): string => path.join(folder, name);
/** By name, with what each has logged. */
const controls = new Map<string, { readonly process: ChildProcess; readonly said: string[] }>();
after(() => {
  for (const control of controls.values()) control.process.kill("SIGKILL");
});
const { plan, binaries, kubeconfig: admin, kubectl } = testCluster("routes", 1, folder);

async function until<T>(what: string, find: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (performance.now() > end) {
      const said = [...controls].map(([name, control]) => `${name}: ${control.said.slice(-8).join("\n")}`);
      throw new Error(`${what}: not within ${PATIENCE_MS / 1_000} s\n${said.join("\n")}`);
    }
    await sleep(200);
  }
}

async function startControl(name: string): Promise<void> {
  const [port, ready, metrics] = await freePorts(3);
  const listener = (of: number | undefined): object => ({ host: "127.0.0.1", port: of });
  const spec = {
    ...{ kubeconfig: at("control.kubeconfig"), serverNames: ["localhost"], routeStatus: true },
    ...{ listen: listener(port), ready: listener(ready), metrics: listener(metrics) },
  };
  writeFileSync(at(`${name}.yaml`), JSON.stringify({ apiVersion: "orlop.dev/v1alpha1", kind: "ControlConfig", spec }));
  const argv = [main, "control", "-c", at(`${name}.yaml`)];
  const control = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
  const said: string[] = [];
  createInterface({ input: control.stdout ?? assert.fail() }).on("line", (line) => said.push(line));
  controls.set(name, { process: control, said });
}

const writers = (): readonly string[] =>
  [...controls].filter(([, { said }]) => said.some((line) => line.includes('"status written"'))).map(([name]) => name);

type Condition = { readonly type: string; readonly status: string; readonly reason: string; readonly message: string };
type Entry = { readonly controllerName: string; readonly parentRef: object; readonly conditions: readonly Condition[] };

async function entries(name: string, of: string = ROUTES): Promise<readonly Entry[]> {
  const { status, body } = await ask(admin, `${of}/${name}`);
  assert.equal(status, 200, body);
  return (JSON.parse(body) as { readonly status?: { readonly parents?: readonly Entry[] } }).status?.parents ?? [];
}

/** Resolves to the messages once our only entry has these reasons. */
const reasons = (name: string, ...wanted: readonly string[]): Promise<readonly string[]> =>
  until(`${name}: ${wanted.join(", ")}`, async () => {
    const ours = (await entries(name)).filter(({ controllerName }) => controllerName === "orlop.dev/mesh");
    const found = ours.flatMap(({ conditions }) => conditions.map(({ status, reason }) => `${status} ${reason}`));
    return found.join() === wanted.join()
      ? ours.flatMap((each) => each.conditions.map(({ message }) => message))
      : undefined;
  });

const parent = { group: "", kind: "Service", name: "api" };
const makeService = (name: string): Promise<unknown> =>
  make(admin, "/api/v1/namespaces/shop/services", { metadata: { name }, spec: { ports: [{ port: 80 }] } });
const route = (name: string, spec: object): Promise<unknown> =>
  make(admin, ROUTES, {
    ...{ apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: { name } },
    spec: { parentRefs: [parent], ...spec },
  });

before(async () => {
  await startCluster(plan, binaries, console.log);
  for (const plural of ["httproutes", "tlsroutes", "tcproutes"])
    await make(admin, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", gatewayDefinition(plural));
  await makeNamespace(admin, SYSTEM, []);
  await makeNamespace(admin, "shop", []);
  for (const name of ["control", "route-status"])
    kubectl.run(["apply", "--validate=strict", "--server-side", "-f", manifest(name)]);
  writeFileSync(at("control.token"), await tokenFor(admin, { namespace: SYSTEM, account: "orlop-control" }, "", null));
  const kubeconfig = JSON.parse(readFileSync(admin, "utf8"));
  const [{ name }] = kubeconfig.users;
  kubeconfig.users = [{ name, user: { tokenFile: at("control.token") } }];
  writeFileSync(at("control.kubeconfig"), JSON.stringify(kubeconfig));
  await until("routes are served", async () => ((await ask(admin, ROUTES)).status === 200 ? true : undefined));
  await makeService("api");
  for (const each of ["first", "second"]) await startControl(each);
});

test("a route is accepted, or says why not, and whether its backends are there", async () => {
  await route("good", { rules: [{ backendRefs: [{ name: "far", port: 80 }] }] });
  const [, missing] = await reasons("good", "True Accepted", "False BackendNotFound");
  assert.equal(missing, "there is no Service shop/far");
  await makeService("far");
  await reasons("good", "True Accepted", "True ResolvedRefs");
  const mirrorTo = (name: string): unknown => ({
    type: "RequestMirror",
    requestMirror: { backendRef: { name, port: 80 } },
  });
  const whole = { backendRefs: [{ name: "far", port: 80 }] };
  await route("mirrored", { rules: [{ ...whole, filters: [mirrorTo("far"), mirrorTo("nobody")] }] });
  const [, gone] = await reasons("mirrored", "True Accepted", "False BackendNotFound");
  assert.equal(gone, "there is no Service shop/nobody");
  const foreign = { type: "ExtensionRef", extensionRef: { group: "x.example", kind: "Filter", name: "far" } };
  await route("extended", { rules: [{ ...whole, filters: [foreign] }] });
  const [refused] = await reasons("extended", "False UnsupportedValue", "True ResolvedRefs");
  assert.match(refused ?? "", /^spec\.rules\[0\]\.filters\[0\]\.extensionRef is not honoured/);
  const port = { parentRefs: [{ ...parent, port: 81 }] };
  await route("astray", port);
  await reasons("astray", "False NoMatchingParent", "True ResolvedRefs");
  const cors = { type: "CORS", cors: { allowOrigins: ["https://*.example"] } };
  const expression = { path: { type: "RegularExpression", value: "/v[0-9]+" } };
  await route("whole", {
    rules: [{ matches: [expression], filters: [cors], backendRefs: [{ name: "far", port: 80 }] }],
  });
  await reasons("whole", "True Accepted", "True ResolvedRefs");
});

test("a TLSRoute and a TCPRoute have theirs", async () => {
  const spec = { parentRefs: [parent], rules: [{ backendRefs: [{ name: "api", port: 80 }] }] };
  const named = { ...spec, hostnames: ["*.shop.example"] };
  const lost = { ...spec, rules: [{ backendRefs: [{ name: "nobody", port: 80 }] }] };
  for (const [kind, name, given, wanted] of [
    ["TLSRoute", "named", named, "True Accepted,True ResolvedRefs"],
    ["TCPRoute", "shares", spec, "True Accepted,True ResolvedRefs"],
    ["TCPRoute", "lost", lost, "True Accepted,False BackendNotFound"],
  ] as const) {
    const apiVersion = "gateway.networking.k8s.io/v1";
    await make(admin, STREAMS[kind], { apiVersion, kind, metadata: { name }, spec: given });
    await until(`${kind} ${name}: ${wanted}`, async () => {
      const ours = (await entries(name, STREAMS[kind])).flatMap(({ conditions }) => conditions);
      return ours.map(({ status, reason }) => `${status} ${reason}`).join() === wanted ? true : undefined;
    });
  }
});

test("a single replica writes; when it is killed the other follows", async () => {
  const [writer = "", ...others] = writers();
  assert.deepEqual(others, []);
  controls.get(writer)?.process.kill("SIGKILL");
  await send(admin, "DELETE", "/api/v1/namespaces/shop/services/far");
  await reasons("good", "True Accepted", "False BackendNotFound");
  await until("the other has written", async () => (writers().length === 2 ? true : undefined));
});

test("entries of other controllers stay, by the program and by the admission policy", async () => {
  const other = { parentRef: { name: "gate" }, controllerName: "example.com/gate", conditions: [] };
  const status = { parents: [...(await entries("good")), { ...other, conditions: [condition()] }] };
  const put = await send(admin, "PATCH", `${ROUTES}/good/status`, { status });
  assert.equal(put.status, 200, put.body);
  await makeService("far");
  await reasons("good", "True Accepted", "True ResolvedRefs");
  assert.ok((await entries("good")).some(({ controllerName }) => controllerName === "example.com/gate"));
  const refusals = [
    asControl(`${ROUTES}/good/status`, { status: { parents: [] } }),
    asControl(`${ROUTES}/good`, { spec: { hostnames: ["a.example"] } }),
  ];
  assert.match(refusals[0] ?? "", /orlop-control may change no entry of another controller/);
  assert.match(refusals[1] ?? "", /cannot patch resource \\"httproutes\\"/);
});

/** What the API server answers to a change by the program's account. */
function asControl(url: string, object: object): string {
  const { server } = JSON.parse(readFileSync(admin, "utf8")).clusters[0].cluster;
  const headers = [
    `Authorization: Bearer ${readFileSync(at("control.token"), "utf8")}`,
    "Content-Type: application/merge-patch+json",
  ];
  const argv = [
    "-sSk",
    "-X",
    "PATCH",
    ...headers.flatMap((each) => ["-H", each]),
    "-d",
    JSON.stringify(object),
    server + url,
  ];
  const done = spawnSync("curl", argv, { encoding: "utf8", timeout: 30_000 });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout;
}

const condition = (): object => ({
  ...{ type: "Accepted", status: "True", reason: "Accepted", message: "" },
  ...{ observedGeneration: 1, lastTransitionTime: "2026-01-02T03:04:05Z" },
});
