// `source: kubernetes`: the programs of a node begin with a cluster, follow it, and begin with what they applied last when it is away.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { exits } from "../../agent/cli/output.ts";
import { call, startServers } from "../../demo/app/roles.ts";
import { startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Node, type Pod } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";
import { type ApiChange, ClusterApi, podObject, runningPod } from "../support/cluster-api.ts";

const ECHO = 8080;
/** How long the API server is away; `make soak` has a minute. An hour, by a clock that the source is given: outages.test.ts beside the source. */
const AWAY_MS = process.env.ORLOP_SOAK === "1" ? 60_000 : 3_000;

let cluster: Cluster;
let node: Node;
let api: ClusterApi;

const tell = (change: ApiChange): void => api.tell(change);
const policy = (callers: readonly string[]): ApiChange => {
  const principals = callers.map((name) => `cluster.local/ns/demo/sa/${name}`);
  const spec = { selector: { matchLabels: { app: "api" } }, rules: [{ from: [{ source: { principals } }] }] };
  return { kind: "AuthorizationPolicy", namespace: "demo", name: "api-callers", body: { spec } };
};

const runs = (pod: Pod): ApiChange => runningPod(pod, [pod.ip4, pod.ip6]);

/** The API server in the node's namespace, with all that there is of the cluster. */
const startApi = (callers: readonly string[]): Promise<void> => {
  const labels = { "orlop.dev/dataplane-mode": "ambient" };
  return api.start([
    { kind: "Namespace", namespace: "", name: "demo", body: { metadata: { labels } } },
    { kind: "PeerAuthentication", namespace: "demo", name: "all", body: { spec: { mtls: { mode: "STRICT" } } } },
    policy(callers),
    ...node.pods.map(runs),
  ]);
};

before(async () => {
  const pods = ["web", "batch", "api"].map((name) => ({ name, labels: { app: name } }));
  cluster = await createCluster({ nodes: [{ name: "node-a", pods }], nodeConfig: "  dataThreads: 1\n" });
  node = cluster.node("node-a");
  api = new ClusterApi(cluster, node);
  await startApi(["web"]);
  await Promise.all([startMesh(cluster), ...node.pods.map(startServers)]);
});
after(() => cluster?.close());

/** The agent that holds the node. */
const holder = (): number => Number(readFileSync(path.join(node.runDir, "agent.pid"), "utf8"));
const target = () => ({ host: cluster.pod("api").ip4, port: ECHO });
const isServed = async (from: string): Promise<boolean> =>
  (await call(cluster.pod(from), target())).reply?.pod === "api";
const becomes = (from: string, wanted: boolean): Promise<true> =>
  until(`${from} ${wanted ? "served" : "refused"}`, 20_000, async () =>
    (await isServed(from)) === wanted ? true : undefined,
  );

describe("a cluster as the source", () => {
  test("its pods are captured, and its policies decide", async () => {
    const { source, pods } = await view(node, "status");
    assert.deepEqual([source.kind, source.state, pods], ["kubernetes", "synced", { captured: 3, wanted: 3 }]);
    assert.deepEqual([await isServed("web"), await isServed("batch")], [true, false]);
    const objects = new Map(source.kinds.map(({ kind, objects: count }) => [kind, count]));
    const wanted = { Pod: 3, Namespace: 1, AuthorizationPolicy: 1, HTTPRoute: 0, LimitPolicy: 0, DestinationRule: 0 };
    assert.partialDeepStrictEqual(Object.fromEntries(objects), wanted);
  });

  test("a change of a policy is in force soon", async () => {
    tell(policy(["batch"]));
    await becomes("web", false);
    await becomes("batch", true);
  });

  test("a pod is captured and known before the API has its addresses, and nothing changes when it has them", async () => {
    const web = cluster.pod("web");
    const captured = (wanted: number): Promise<true> =>
      until(`${wanted} pods captured`, 20_000, async () => {
        const { pods } = await view(node, "status");
        return pods.captured === wanted && pods.wanted === wanted ? true : undefined;
      });
    await becomes("web", false);
    tell({ ...runs(web), body: null });
    await captured(2);
    tell(podObject(web, { phase: "Pending" }));
    await captured(3);
    tell(policy(["web"]));
    await becomes("web", true);
    tell(runs(web));
    await until("its addresses", 20_000, async () => {
      const { items } = await view(node, "workloads");
      return items.find(({ name }) => name === "web")?.addresses.length === 2 ? true : undefined;
    });
    assert.equal(await isServed("web"), true);
    tell(policy(["batch"]));
    await becomes("web", false);
  });

  test("pods that cannot be captured are named with the reason, wait for nothing, and STRICT refuses them", async () => {
    const [batch, onTheNode] = [cluster.pod("batch"), { ...cluster.pod("batch"), name: "on-the-node", uid: "uid-1" }];
    const specOf = ({ body }: ApiChange): object => Object(body).spec;
    const withSpec = (change: ApiChange, more: object): ApiChange => ({
      ...change,
      body: { ...change.body, spec: { ...specOf(change), ...more } },
    });
    tell(withSpec(runningPod(onTheNode, [node.ip4]), { hostNetwork: true }));
    tell(withSpec(runs(batch), { containers: [{ name: "app" }, { name: "istio-proxy" }] }));
    await until("two pods left out", 20_000, async () => {
      const { items } = await view(node, "workloads");
      const said = items.flatMap(({ name, capture, captureNote }) =>
        capture === "left-out" ? [name, captureNote] : [],
      );
      const wanted = [
        ...["batch", "sidecar: container istio-proxy"],
        ...["on-the-node", "host-network: spec.hostNetwork is true"],
      ];
      return said.join() === wanted.join() ? true : undefined;
    });
    await becomes("batch", false);
    const { pods, pending, notes } = await view(node, "status");
    assert.deepEqual([pods, pending], [{ captured: 2, wanted: 2 }, []]);
    assert.match(notes.join(), /left out of it \(1 host-network, 1 sidecar\)/);
    const checked = await node.orlop(["check", "-o", "json", "--socket", `${node.runDir}/agent.sock`]).wait(20_000);
    const { items } = JSON.parse(checked.stdout) as { readonly items: readonly { readonly code: string }[] };
    assert.equal(items.filter(({ code }) => code === "ORL2003").length, 2);
    tell({ ...runs(onTheNode), body: null });
    tell(runs(batch));
    await becomes("batch", true);
  });

  test("a route of its API is in force while it is there", async () => {
    const vip = serviceAddresses(1).ip4;
    const asked = async (target: string): Promise<string> => {
      const format = "%{http_code} %{redirect_url}";
      const curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", format, `http://${vip}${target}`];
      return (await cluster.pod("batch").start(curl).wait(20_000)).stdout.trim();
    };
    const says = (target: string, wanted: string): Promise<true> =>
      until(`${target}: ${wanted}`, 20_000, async () => ((await asked(target)) === wanted ? true : undefined));
    const ports = [{ name: "http", port: 80, targetPort: ECHO }];
    const service = { clusterIP: vip, clusterIPs: [vip], selector: { app: "api" }, ports };
    tell({ kind: "Service", namespace: "demo", name: "api", body: { spec: service } });
    const parentRefs = [{ group: "", kind: "Service", name: "api", port: 80 }];
    const requestRedirect = { hostname: "other.example", statusCode: 301 };
    const moved = { matches: [{ path: { value: "/moved" } }], filters: [{ type: "RequestRedirect", requestRedirect }] };
    const route = { kind: "HTTPRoute", namespace: "demo", name: "api" } as const;
    tell({ ...route, body: { spec: { parentRefs, rules: [moved] } } });
    await says("/moved", "301 http://other.example/moved");
    await says("/elsewhere", "404");
    tell({ ...route, body: null });
    await until("the Service's own endpoint", 20_000, async () =>
      (await call(cluster.pod("batch"), { host: vip, port: 80 })).reply?.pod === "api" ? true : undefined,
    );
  });

  test("an agent that is replaced leaves it to the next agent to keep what is applied", async () => {
    const before = holder();
    process.kill(before, "SIGTERM");
    await until("the next agent", 30_000, () => (holder() !== before ? true : undefined));
    await until("a synced source", 30_000, async () =>
      (await view(node, "status")).source.state === "synced" ? true : undefined,
    );
    tell(policy(["web"]));
    await becomes("web", true);
    await becomes("batch", false);
  });

  test("while the API server is away the last state is in force, also in an agent that starts then", async () => {
    await api.kill();
    await until("a stale source", 20_000, async () =>
      (await view(node, "status")).source.state === "stale" ? true : undefined,
    );
    assert.deepEqual([await isServed("web"), await isServed("batch")], [true, false]);
    const before = holder();
    process.kill(before, "SIGKILL");
    await until("the next agent, with what was applied last", 30_000, async () => {
      const { source, pods } = await view(node, "status");
      return holder() !== before && source.fromLastGood && pods.captured === 3 ? true : undefined;
    });
    await becomes("web", true);
    assert.equal(await isServed("batch"), false);
    let calls = 0;
    for (const back = performance.now() + AWAY_MS; performance.now() < back; calls += 2) {
      assert.deepEqual([await isServed("web"), await isServed("batch")], [true, false], `after ${calls} calls`);
      await sleep(100);
    }
    console.log(`away for ${AWAY_MS / 1_000} s more: ${calls} calls as policy says`);
    const shown = await node.orlop(["status", "--socket", `${node.runDir}/agent.sock`]).wait(20_000);
    assert.equal(shown.status, exits.findings);
    assert.match(shown.stdout, /^AuthorizationPolicy +away +\d/m);
  });

  test("when it is back, what it says now is in force", async () => {
    await startApi(["web", "batch"]);
    await becomes("batch", true);
    await until("a synced source", 60_000, async () =>
      (await view(node, "status")).source.state === "synced" ? true : undefined,
    );
    assert.equal((await view(node, "status")).source.fromLastGood, false);
  });
});
