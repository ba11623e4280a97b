// What a pod dials outside the mesh goes direct in the kernel (E1): plain TCP, with a record, until the destination joins the mesh.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until, view } from "../../demo/mesh/mesh-run.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const PORT = 8077;
const CLOSED = 8078;
const server = `
import socket, sys, threading
def serve(c):
  try:
    while True:
      data = c.recv(999)
      if not data: return
      c.send(data)
  except OSError: pass
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(("::", ${PORT})); s.listen(99)
print("up", flush=True)
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()`;

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
  assert.equal(await journey.cluster.outside.start(["python3", "-c", server]).line(10_000), "up");
});
after(() => journey?.close());

async function direct(): Promise<number> {
  const { items } = await view(journey.cluster.node("node-a"), "bpf");
  const counter = items.find((one) => one.type === "counter" && one.name === "connect_outside");
  return counter?.type === "counter" ? counter.value : 0;
}

test("an open port answers the pod's own address, a closed one refuses; both are counted and in the access log", async () => {
  const { cluster } = journey;
  const node = cluster.node("node-a");
  const count = await direct();
  for (const host of [cluster.outside.ip4, cluster.outside.ip6]) {
    assert.equal((await call(cluster.pod("web"), { host, port: CLOSED })).error, "ECONNREFUSED", host);
    const pinging = await startPing(cluster.pod("web"), { host, port: PORT }, 20);
    await pinging.finish();
  }
  assert.ok((await direct()) >= count + 4);
  for (const port of [PORT, CLOSED]) {
    await until(`port ${port} in the access log`, 10_000, async () =>
      readFileSync(node.accessLog, "utf8").includes(`${cluster.outside.ip4}:${port}`) ? true : undefined,
    );
  }
});

test("a direct connection ends when its destination joins the mesh", async () => {
  const { cluster } = journey;
  const pinging = await startPing(cluster.pod("web"), { host: cluster.outside.ip4, port: PORT }, 20);
  const text = meshText(cluster, initialState);
  cluster.writeMesh(`${text}---
apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: newcomer, namespace: demo, uid: newcomer-uid}
spec:
  addresses: ["${cluster.outside.ip4}"]
  node: elsewhere
  serviceAccount: newcomer
`);
  await pinging.dead(10_000);
  cluster.writeMesh(text);
});
