// test cluster · Orlop on a real cluster of two nodes, installed and used by the commands of docs/kubernetes.md: a label puts running
// pods into the mesh and takes them out, calls are by HBONE, policies are enforced, probes pass under STRICT, and nothing stays.
// `make cluster-test` runs it. It needs programs that take minutes to build, so `make test` does not.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { soak } from "../peers/support/soak.ts";
import { hierarchies } from "./cgroups.ts";
import { kubeletOf, startCluster, stopCluster } from "./cluster.ts";
import { inhabitantsOf, leftOf } from "./leftovers.ts";
import { madeUpMirror } from "./made-up-mirror.ts";
import { orlopArchive } from "./orlop-image.ts";
import { sectionsOf } from "./page.ts";
import { PageRunner } from "./page-runner.ts";
import { staticPodsOf } from "./plan.ts";
import { cgroupOf } from "./scripts.ts";
import { testCluster } from "./test-cluster.ts";

/** Of the kubelet's probes of each kind, after the pods were ready. Four pods have a probe of each kind each second. */
const PROBES = soak(150, 1_000);
const PROBES_PATIENCE_MS = 120_000 + PROBES * 500;
const PATIENCE_MS = 120_000;
/** By container and purpose, what probed.yaml says. */
const PROBE_KINDS: Readonly<Record<string, string>> = {
  ...{ "serves Startup": "HTTP", "serves Liveness": "HTTP", "serves Readiness": "gRPC" },
  ...{ "beside Startup": "TCP", "beside Liveness": "TCP", "beside Readiness": "exec" },
};

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "orlop-page-"));
const { plan, binaries, kubectl, shell } = testCluster("mesh", 2, folder);

// The page's paths begin at the checkout; what its commands write stays here.
for (const name of ["daemonset", "docs"]) symlinkSync(path.join(checkout, name), path.join(folder, name));
const sections = sectionsOf(readFileSync(path.join(checkout, "docs/kubernetes.md"), "utf8"));
const page = new PageRunner(folder, shell);
const started = performance.now();

async function follow(section: string): Promise<void> {
  const steps = sections.get(section);
  assert.ok(steps !== undefined && steps.length > 0, `docs/kubernetes.md has no commands in "${section}"`);
  await page.run(steps);
  console.log(`${((performance.now() - started) / 1_000).toFixed(1)} s  ${section}`);
}

type Pod = { readonly metadata: { readonly name: string; readonly uid: string }; readonly status: Status };
type Status = {
  readonly podIPs: readonly { readonly ip: string }[];
  readonly containerStatuses: readonly { readonly containerID: string; readonly restartCount: number }[];
};

const podsOf = (namespace: string, app: string): readonly Pod[] => {
  const text = kubectl.run(["-n", namespace, "get", "pods", "-l", `app=${app}`, "-o", "json"]);
  return (JSON.parse(text) as { readonly items: readonly Pod[] }).items;
};

/** A pod whose container was started anew has another. */
const livesOf = (namespace: string, app: string): readonly string[] =>
  podsOf(namespace, app).map(({ metadata, status }) =>
    [metadata.uid, ...status.containerStatuses.map((c) => `${c.containerID} ${c.restartCount}`)].join(" "),
  );

const call = (from: string, url: string): string => {
  const [namespace = "", deployment = ""] = from.split("/");
  const argv = ["-n", namespace, "exec", `deployment/${deployment}`, "--", "node", "/programs/call.mjs", "GET", url];
  return kubectl.run(argv);
};

async function until(what: string, isSo: () => boolean, patienceMs = PATIENCE_MS): Promise<void> {
  const end = performance.now() + patienceMs;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${patienceMs / 1_000} s`);
    await sleep(500);
  }
}

/** What an `orlop` in the container of that name prints as JSON, in each pod of its DaemonSet. @throws Error when it fails */
function printed<T>(container: "agent" | "keeper", command: string): readonly T[] {
  const label = `app=orlop-${container}`;
  const pods = kubectl.run(["-n", "orlop-system", "get", "pods", "-l", label, "-o", "name"]).split("\n");
  return pods.map((pod) => {
    const argv = ["orlop", ...command.split(" "), "-o", "json"];
    return JSON.parse(kubectl.run(["-n", "orlop-system", "exec", pod, "-c", container, "--", ...argv])) as T;
  });
}

/** What agents say of the workloads of a namespace: each pod by the agent of its own node. */
function captures(namespace: string): ReadonlyMap<string, string> {
  type Row = { readonly namespace: string; readonly name: string; readonly capture: string };
  const rows = printed<{ readonly items: readonly Row[] }>("agent", "get workloads").flatMap(({ items }) => items);
  const own = rows.filter((row) => row.namespace === namespace && row.capture !== "remote");
  return new Map(own.map(({ name, capture }) => [name, capture]));
}

/** Probes of the namespace lab by kind and result, as both kubelets have counted them. */
function probes(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { name } of plan.nodes) {
    const text = kubectl.raw(`/api/v1/nodes/${name}/proxy/metrics/probes`);
    for (const [, labels = "", count] of text.matchAll(/^prober_probe_total\{(.*)\} (\S+)$/gm)) {
      if (!labels.includes('namespace="lab"')) continue;
      const label = (name: string): string => new RegExp(`\\b${name}="(\\w+)"`).exec(labels)?.[1] ?? "";
      const kind = PROBE_KINDS[`${label("container")} ${label("probe_type")}`];
      assert.ok(kind !== undefined, labels);
      const key = `${kind} ${label("result")}`;
      counts.set(key, (counts.get(key) ?? 0) + Number(count));
    }
  }
  return counts;
}

test("Orlop is installed by the page's commands", async () => {
  const archive = (): string => orlopArchive(path.join(plan.dir, "image"));
  await startCluster(plan, binaries, console.log, () => [archive()]);
  await follow("Install");
});

let before: ReadonlyMap<string, number>;

test("pods under STRICT that are probed in each way become ready; pods that are none of the mesh's are left alone", async () => {
  kubectl.run(["apply", "-f", path.join(import.meta.dirname, "probed.yaml")]);
  kubectl.run(["-n", "lab", "rollout", "status", "deployment/probed", "--timeout=180s"]);
  const pods = podsOf("lab", "probed").map(({ metadata }) => metadata.name);
  await until("all probed pods captured", () => {
    const found = captures("lab");
    return pods.every((name) => found.get(name) === "captured");
  });
  const others = ["pod/with-sidecar", "pod/with-proxy", "pod/on-the-node", "pod/opted-out"];
  kubectl.run(["-n", "lab", "wait", ...others, "--for=condition=Ready", "--timeout=180s"]);
  kubectl.run(["-n", "lab", "wait", "pod/finished", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s"]);
  const outside = [
    ["on-the-node", "left-out"],
    ["opted-out", "not-enrolled"],
    ["with-proxy", "left-out"],
    ["with-sidecar", "left-out"],
  ];
  await until("the others said to be outside, and the finished pod gone", () => {
    const found = [...captures("lab")].filter(([name]) => !pods.includes(name));
    return isDeepStrictEqual(found.toSorted(), outside);
  });
  before = probes();
});

test("orlop check finds no fault in the programs' own containers, and says which pods are left out and why", () => {
  type Findings = {
    readonly items: readonly { readonly code: string; readonly status: string; readonly what: string }[];
  };
  // It fails when a finding does. An agent's container has no second process for a shell.
  printed<Findings>("keeper", "check");
  const leftOut = printed<Findings>("agent", "check").flatMap(({ items }) =>
    items.flatMap(({ code, status, what }) => (code === "ORL2003" ? [`${status} ${what}`] : [])),
  );
  assert.deepEqual(leftOut.toSorted(), [
    "info pod lab/on-the-node is left out of the mesh: spec.hostNetwork is true",
    "warn pod lab/with-proxy is left out of the mesh: container istio-proxy",
    "warn pod lab/with-sidecar is left out of the mesh: annotation sidecar.istio.io/status",
  ]);
  // They are no pods that wait: nothing is pending, and nothing counts as wanted that is not captured.
  type Status = {
    readonly pods: { readonly captured: number; readonly wanted: number };
    readonly pending: readonly string[];
  };
  for (const { pods, pending } of printed<Status>("agent", "status"))
    assert.deepEqual([pods.captured, pending], [pods.wanted, []]);
});

let lives: readonly string[];

test("running pods join the mesh by a label, as the processes that they are", async () => {
  await follow("An application to try it on");
  const all = (): readonly string[] => [...livesOf("shop", "api"), ...livesOf("shop", "web")];
  lives = livesOf("shop", "web");
  const running = all();
  await follow("Into the mesh");
  assert.deepEqual(all(), running);
  const [web] = podsOf("shop", "web");
  const own = new Map(web?.status.podIPs.map(({ ip }) => [isIPv6(ip), ip]));
  for (const { metadata, status } of podsOf("shop", "api")) {
    for (const { ip } of status.podIPs) {
      const said = call("shop/web", `http://${isIPv6(ip) ? `[${ip}]` : ip}:8080/`);
      assert.equal(said, `200 ${metadata.name} answers GET / to ${own.get(isIPv6(ip))}`);
    }
  }
});

test("policies are objects of the API", async () => {
  await follow("Policies");
  const [pod] = podsOf("lab", "probed");
  for (const caller of ["legacy/batch", "shop/web"])
    assert.match(call(caller, `http://${pod?.status.podIPs[0]?.ip}:8080/`), /^refused: /, caller);
});

test("a static pod, of which the API has but a mirror, is in the mesh as every other, and goes out of it with its file", async () => {
  const [node] = plan.nodes;
  assert.ok(node !== undefined);
  const server = 'require("node:http").createServer((_, answer) => answer.end("still\\n")).listen(8080, "::")';
  const still = {
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "still", namespace: "lab", labels: { app: "still" } } },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "serves", image: "orlop:0.1.0", command: ["node", "-e", server] }],
    },
  };
  const allowed = {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: "still", namespace: "lab" },
    spec: {
      selector: { matchLabels: { app: "still" } },
      rules: [{ from: [{ source: { namespaces: ["shop"] } }] }],
    },
  };
  kubectl.run(["apply", "-f", "-"], JSON.stringify(allowed));
  const file = path.join(staticPodsOf(node), "still.yaml");
  writeFileSync(file, JSON.stringify(still));
  const name = `still-${node.name}`;
  await until("the static pod captured", () => captures("lab").get(name) === "captured");
  kubectl.run(["-n", "lab", "wait", `pod/${name}`, "--for=condition=Ready", "--timeout=60s"]);
  const [mirror] = podsOf("lab", "still");
  for (const { ip } of mirror?.status.podIPs ?? assert.fail()) {
    const url = `http://${isIPv6(ip) ? `[${ip}]` : ip}:8080/`;
    await until("a call that policy allows", () => call("shop/web", url) === "200 still");
    assert.match(call("legacy/batch", url), /^refused: /);
  }
  const madeUp = madeUpMirror(kubectl, { namespace: "attic", name: "aaa", node: node.name, of: `lab/${name}` });
  await until("the made-up mirror known", () => captures("attic").get("aaa") === "failed");
  assert.equal(captures("lab").get(name), "captured");
  const [ip = ""] = mirror?.status.podIPs.map((address) => address.ip) ?? [];
  assert.equal(call("shop/web", `http://${isIPv6(ip) ? `[${ip}]` : ip}:8080/`), "200 still");
  await until("deleted by the kubelet, and kept by its finalizer", () => madeUp.isBeingDeleted());
  // The same file makes the same UID, which the made-up mirror claims before the pod's own is there.
  rmSync(file);
  await until("the static pod gone", () => !captures("lab").has(name));
  writeFileSync(file, JSON.stringify(still));
  await until("captured as its own again", () => captures("lab").get(name) === "captured");
  assert.equal(captures("attic").get("aaa"), "failed");
  await until("a call that policy allows", () => {
    const now = podsOf("lab", "still")[0]?.status.podIPs[0]?.ip ?? "";
    return call("shop/web", `http://${isIPv6(now) ? `[${now}]` : now}:8080/`) === "200 still";
  });
  madeUp.remove();
  rmSync(file);
  await until("the static pod gone", () => !captures("lab").has(name));
});

test("pods that come later are in the mesh", () => follow("New pods"));

test("operators see it", () => follow("A look at it"));

test(`of ${PROBES} probes of each kind under STRICT none fails`, async () => {
  const kinds = [...new Set(Object.values(PROBE_KINDS))];
  const since = (key: string, now: ReadonlyMap<string, number>): number => (now.get(key) ?? 0) - (before.get(key) ?? 0);
  const enough = (): boolean => {
    const now = probes();
    return kinds.every((kind) => since(`${kind} successful`, now) >= PROBES);
  };
  await until(`${PROBES} probes of each kind`, enough, PROBES_PATIENCE_MS);
  const now = probes();
  const good = kinds.map((kind) => `${kind} ${since(`${kind} successful`, now)}`);
  const failed = [...now.keys()].filter((key) => !key.endsWith(" successful") && since(key, now) > 0);
  console.log(`probes since the pods were captured: ${good.join(", ")}; failed: ${failed.join(", ") || 0}`);
  assert.deepEqual(failed, []);
  kubectl.run(["delete", "namespace", "lab", "--wait=false"]);
});

test("without the label the pods are out of the mesh again, still the same processes", async () => {
  await follow("Out of the mesh");
  assert.deepEqual(livesOf("shop", "web"), lives);
});

test("Orlop is removed by the page's commands, and nothing of it is in the kernel", async () => {
  // What the page says of namespaces in the mesh: none is left.
  kubectl.run(["wait", "--for=delete", "namespace/lab", "--timeout=180s"]);
  const pins = plan.nodes.map((node) => {
    const [hierarchy] = hierarchies();
    assert.ok(hierarchy !== undefined);
    const kubelet = readFileSync(path.join(cgroupOf(hierarchy, plan, kubeletOf(node)), "cgroup.procs"), "utf8");
    return `/proc/${kubelet.split("\n")[0]}/root/sys/fs/bpf/orlop`;
  });
  for (const pin of pins) assert.ok(existsSync(pin), pin);
  await follow("Remove");
  for (const pin of pins) assert.ok(!existsSync(pin), pin);
});

test("afterwards nothing of the cluster is left", async () => {
  const inhabitants = inhabitantsOf(plan);
  await stopCluster(plan);
  assert.deepEqual(leftOf(plan, inhabitants), []);
});
