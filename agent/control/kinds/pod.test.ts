// Pods as an API server has them → workloads.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AcceptedObjects, type ObjectChange } from "../accepted-objects.ts";
import { parseYaml } from "../static-file/parse.ts";
import { parsedObjectsOf } from "./parsed-object.ts";
import { Report } from "./value.ts";

const settings = {
  node: "west",
  cluster: "c1",
  network: "",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: false,
  runtimeClasses: ["nvidia"],
};

const pod = "web-6f7d8-abcde";
const container = (more: object = {}) => ({ name: "app", image: "app:1", resources: {}, ...more });
function podOf({ metadata = {}, spec = {}, status = {} }: Readonly<Record<string, object>>): object {
  return {
    metadata: {
      name: "web-6f7d8-abcde",
      namespace: "shop",
      uid: "uid-1",
      labels: { "pod-template-hash": "6f7d8" },
      ...metadata,
    },
    spec: { nodeName: "west", serviceAccountName: "web", containers: [container()], tolerations: [{}], ...spec },
    status: {
      ...{ phase: "Running", podIP: "10.0.0.1", hostIP: "192.168.0.1", qosClass: "BestEffort" },
      podIPs: [{ ip: "10.0.0.1" }, { ip: "FD00::1" }],
      conditions: [{ type: "Ready", status: "True", lastProbeTime: null }],
      ...status,
    },
  };
}

const ambient = { "orlop.dev/dataplane-mode": "ambient" };

function read(object: object, isMember = true) {
  const objects = new AcceptedObjects(settings);
  const present = (kind: string, namespace: string, name: string, body: object): ObjectChange => {
    const version = { kind, namespace, name, resourceVersion: "7" };
    return { op: "present", apiVersion: "v1", version, uid: "u", object: JSON.parse(JSON.stringify(body)) };
  };
  const updates = objects.apply([
    present("Namespace", "", "shop", { metadata: { labels: isMember ? ambient : {} } }),
    present("Pod", "shop", pod, object),
  ]);
  const found = updates.flatMap((update) =>
    update.op === "upsert" && update.kind === "workload" ? [update.value] : [],
  );
  const leftOut = objects.leftOut.map(({ workload, reason, because }) => [workload.name, reason, because]);
  const say = (isIn: boolean) =>
    objects.apply([present("Namespace", "", "shop", { metadata: { labels: isIn ? ambient : {} } })]);
  const deleted = () => objects.apply([{ op: "deleted", object: { kind: "Pod", namespace: "shop", name: pod } }]);
  return { workload: found[0], leftOut, objects, say, deleted };
}

test("a running pod is a workload of its node, under its service account, at all its addresses", () => {
  const { workload, objects } = read(podOf({}));
  assert.deepEqual(objects.problems, []);
  assert.deepEqual(
    {
      ...{ uid: workload?.uid, podUid: workload?.podUid, addresses: workload?.addresses, node: workload?.node },
      ...{ identity: workload?.identity.text, protocol: workload?.protocol, healthy: workload?.healthy },
      workloadName: workload?.workloadName,
    },
    {
      ...{
        uid: "c1//Pod/shop/web-6f7d8-abcde",
        podUid: "uid-1",
        addresses: ["10.0.0.1", "fd00::1"],
        node: "west",
      },
      ...{ identity: "spiffe://cluster.local/ns/shop/sa/web", protocol: "hbone", healthy: true, workloadName: "web" },
    },
  );
  assert.equal(read(podOf({}), false).workload?.protocol, "none");
});

test("what has no address of its own, yet or any more, is no workload", () => {
  for (const change of [
    { status: { phase: "Succeeded" } },
    { status: { phase: "Failed" } },
    { status: { podIPs: [] }, spec: { nodeName: "another" } },
    { status: { podIPs: undefined }, spec: { nodeName: "another" } },
    { spec: { nodeName: undefined } },
    { spec: { hostNetwork: true } },
  ])
    assert.equal(read(podOf(change)).workload, undefined, JSON.stringify(change));
});

test("a pod of this node is known before it has an address", () => {
  for (const podIPs of [[], undefined])
    assert.deepEqual(read(podOf({ status: { podIPs } })).workload?.addresses, [], JSON.stringify(podIPs));
});

test("a pod that is not ready, or is being deleted, gets nothing new", () => {
  for (const change of [
    { status: { conditions: [{ type: "Ready", status: "False" }] } },
    { status: { conditions: undefined } },
    { metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } },
  ])
    assert.equal(read(podOf(change)).workload?.healthy, false, JSON.stringify(change));
});

test("the kubelet's ports are those of probes and hooks, by number or name, of all containers that have any", () => {
  const probes = {
    ports: [
      { name: "web", containerPort: 8080, protocol: "TCP" },
      { name: "dns", containerPort: 53, protocol: "UDP" },
    ],
    livenessProbe: { httpGet: { path: "/", port: "web", scheme: "HTTP" }, periodSeconds: 1 },
    readinessProbe: { tcpSocket: { port: 9001 } },
    startupProbe: { grpc: { port: 9002, service: "" } },
    lifecycle: { preStop: { httpGet: { port: 9003 } }, postStart: { exec: { command: ["true"] } } },
  };
  const { workload } = read(
    podOf({
      spec: {
        containers: [container(probes), container({ livenessProbe: { exec: { command: ["true"] } } })],
        initContainers: [
          container({
            restartPolicy: "Always",
            startupProbe: { tcpSocket: { port: 9004 } },
            ports: [{ name: "side", containerPort: 7000 }],
          }),
          container({ ports: [{ name: "once", containerPort: 7001 }] }),
        ],
      },
    }),
  );
  assert.deepEqual(workload?.probePorts, [8080, 9001, 9002, 9003, 9004]);
  assert.deepEqual(workload?.ports, { web: 8080, side: 7000 });
  assert.deepEqual(read(podOf({})).workload?.probePorts, []);
});

test("a pod of the kubelet's own files is found under the UID that its cgroup has", () => {
  const hash = "5fb2a1a4e9b8a7a0b5c6d7e8f9a0b1c2";
  const annotations = { "kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash };
  const ownerReferences = [{ apiVersion: "v1", kind: "Node", name: "west", uid: "n", controller: true }];
  assert.equal(read(podOf({ metadata: { annotations, ownerReferences } })).workload?.podUid, hash);
  // Annotations alone, which every author of pods may write, lead to no other pod.
  assert.equal(read(podOf({ metadata: { annotations } })).workload?.podUid, "uid-1");
  assert.equal(read(podOf({ spec: { nodeName: "east" } })).workload?.podUid, "");
});

const withSidecar = podOf({ metadata: { annotations: { "sidecar.istio.io/status": "{}" } } });

test("a pod that cannot be captured is left out, by what shows it; its peers reach it as one outside", () => {
  const cases: readonly (readonly [object, string, string])[] = [
    [withSidecar, "sidecar", "annotation sidecar.istio.io/status"],
    ...["istio-proxy", "linkerd-proxy"].map(
      (name) =>
        [podOf({ spec: { containers: [container(), container({ name })] } }), "sidecar", `container ${name}`] as const,
    ),
    [
      podOf({ spec: { initContainers: [container({ name: "istio-proxy", restartPolicy: "Always" })] } }),
      ...(["sidecar", "container istio-proxy"] as const),
    ],
    [podOf({ spec: { runtimeClassName: "kata" } }), "sandbox", "runtimeClassName kata"],
  ];
  for (const [object, reason, because] of cases) {
    const { workload, leftOut, objects } = read(object);
    assert.deepEqual(leftOut, [[pod, reason, because]]);
    assert.deepEqual([workload?.protocol, workload?.addresses.length], ["none", 2], because);
    assert.deepEqual([objects.problems, objects.findings], [[], []], because);
  }
});

test("a pod on its node's network is left out, and the node's addresses are nobody's", () => {
  const { workload, leftOut } = read(podOf({ spec: { hostNetwork: true } }));
  assert.deepEqual([workload, leftOut], [undefined, [[pod, "host-network", "spec.hostNetwork is true"]]]);
});

test("nothing of an ordinary pod leaves it out: its own containers, or a class that runs in the node's kernel", () => {
  for (const spec of [
    { runtimeClassName: "nvidia" },
    { containers: [container({ name: "proxy" })] },
    { initContainers: [container({ name: "istio-validation" })] },
  ]) {
    const { workload, leftOut } = read(podOf({ spec }));
    assert.deepEqual([workload?.protocol, leftOut], ["hbone", []], JSON.stringify(spec));
  }
});

test("only pods of this node whose labels put them into the mesh are said to be left out, as long as they do", () => {
  const nodeName = "another";
  assert.deepEqual(read(podOf({ spec: { nodeName, hostNetwork: true } })).leftOut, []);
  assert.deepEqual(read(podOf({ spec: { nodeName, runtimeClassName: "kata" } })).leftOut, []);
  assert.equal(read(podOf({ spec: { nodeName, runtimeClassName: "kata" } })).workload?.protocol, "none");
  const own = { "orlop.dev/dataplane-mode": "none" };
  assert.deepEqual(read(podOf({ metadata: { labels: own }, spec: { hostNetwork: true } })).leftOut, []);
  for (const object of [withSidecar, podOf({ spec: { hostNetwork: true } })]) {
    const { leftOut, objects, say, deleted } = read(object, false);
    assert.deepEqual(leftOut, []);
    say(true);
    assert.equal(objects.leftOut.length, 1);
    say(false);
    assert.equal(objects.leftOut.length, 0);
    say(true);
    deleted();
    assert.equal(objects.leftOut.length, 0);
  }
});

test("a file has Workloads and no Pods", () => {
  const report = new Report();
  for (const document of parseYaml("mesh.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"))
    parsedObjectsOf(document, settings, report);
  assert.match(report.problems[0]?.what ?? "", /"Pod" is no kind that is read here/);
});
