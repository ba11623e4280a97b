// A Service over endpoints on both nodes: all of them get their share, an endpoint that is not healthy gets nothing.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { call } from "../../demo/app/roles.ts";
import { initialState, type MeshState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, NodeSpec } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "web" }, { name: "near", labels: { tier: "back" } }] },
  { name: "node-b", pods: [{ name: "far", labels: { tier: "back" } }] },
];
const state: MeshState = { ...initialState, optedOut: new Set(), vaultCallers: ["web"] };
const [vip4, vip6] = ["10.96.5.5", "fd96::5:5"];
const service = `---
apiVersion: v1
kind: Service
metadata: {name: back, namespace: demo}
spec:
  clusterIP: ${vip4}
  clusterIPs: ["${vip4}", "${vip6}"]
  selector: {tier: back}
  ports: [{name: echo, port: 80, targetPort: 8080}]
`;
const mesh = (cluster: Cluster): string => meshText(cluster, state) + service;
const sick = (text: string, pod: string): string =>
  text.replace(`serviceAccount: ${pod}\n`, `serviceAccount: ${pod}\n  healthy: false\n`);

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes }, mesh);
});
after(() => journey?.close());

async function answering(times: number): Promise<string[]> {
  const names = new Set<string>();
  for (let time = 0; time < times; time += 1) {
    const host = time % 2 === 0 ? vip4 : vip6;
    const { reply, error } = await call(journey.cluster.pod("web"), { host, port: 80 });
    assert.ok(reply !== undefined, `${host}: ${error}`);
    assert.match(reply.self, /:8080$/);
    names.add(reply.pod);
  }
  return [...names].toSorted();
}

test("calls to the service reach the endpoint of either node", async () => {
  const seen = new Set<string>();
  await until("both to answer", 30_000, async () => {
    for (const name of await answering(4)) seen.add(name);
    return seen.size === 2 ? true : undefined;
  });
});

for (const [ill, well] of [
  ["near", "far"],
  ["far", "near"],
] as const) {
  test(`while ${ill} is not healthy, ${well} gets every call, and ${ill} its share again afterwards`, async () => {
    journey.cluster.writeMesh(sick(mesh(journey.cluster), ill));
    await until(`only ${well} to answer`, 30_000, async () =>
      (await answering(6)).join() === well ? true : undefined,
    );
    assert.deepEqual(await answering(10), [well]);
    journey.cluster.writeMesh(mesh(journey.cluster));
    await until(`${ill} to answer`, 30_000, async () => ((await answering(6)).includes(ill) ? true : undefined));
  });
}

test("what nobody answers for is refused by connect() itself: no endpoint, no such port; and the log says why", async () => {
  const { cluster } = journey;
  const web = cluster.pod("web");
  const errno = async (host: string, port: number): Promise<string> => {
    const code = `import socket, errno
s = socket.socket(socket.AF_INET6 if ":" in "${host}" else socket.AF_INET); s.settimeout(9)
print(errno.errorcode.get(s.connect_ex(("${host}", ${port})), "connected"))`;
    return (await web.run(["python3", "-c", code])).stdout.trim();
  };
  for (const host of [vip4, vip6]) assert.equal(await errno(host, 81), "ECONNREFUSED", "no such port");
  cluster.writeMesh(sick(sick(mesh(cluster), "near"), "far"));
  for (const host of [vip4, vip6])
    await until("no endpoint to be known", 30_000, async () =>
      (await errno(host, 80)) === "ECONNREFUSED" ? true : undefined,
    );
  const { accessLog } = cluster.node("node-a");
  for (const words of ["the service has no such port", "no healthy endpoint for the service"])
    await until(`the log to say "${words}"`, 30_000, async () =>
      readFileSync(accessLog, "utf8").includes(words) ? true : undefined,
    );
  cluster.writeMesh(mesh(cluster));
  for (const host of [vip4, vip6])
    await until("an endpoint to be known", 30_000, async () =>
      (await errno(host, 80)) === "connected" ? true : undefined,
    );
});

test("a pod behind the service reaches itself by the service as by its own address, whatever policies say", async () => {
  const { cluster } = journey;
  const nobody = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: demo}
spec:
  action: DENY
  rules: [{}]
`;
  const near = cluster.pod("near");
  cluster.writeMesh(sick(mesh(cluster), "far") + nobody);
  await until("web to be refused", 30_000, async () => {
    const { reply } = await call(cluster.pod("web"), { host: vip4, port: 80 });
    return reply === undefined ? true : undefined;
  });
  for (const [host, port] of [
    [vip4, 80],
    [vip6, 80],
    [near.ip4, 8080],
    [near.ip6, 8080],
  ] as const) {
    const { reply, error } = await call(near, { host, port });
    assert.equal(reply?.pod, "near", `${host}: ${error}`);
  }
});
