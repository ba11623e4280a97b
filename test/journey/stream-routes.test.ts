// TCPRoute and TLSRoute on a whole mesh: curl and openssl in a pod dial a Service's address, and servers on both nodes answer. The share, or the
// server that TLS names, chooses who answers; nothing of TLS is opened on the way.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type AccessEntry, accessLog, until } from "../../demo/mesh/mesh-run.ts";
import type { Host, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";
import { tail } from "../box/process.ts";
import { orlopOn, serve, supportProgram, whileAgentHangs } from "../support/journey-acts.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { ambientNamespace, meshOf, servicesOf, workloadsOf } from "../support/mesh-documents.ts";

const [HTTP, TLS] = [9080, 9443];
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "near" }] },
  { name: "node-b", pods: [{ name: "far" }] },
];
const called = serviceAddresses(1);

const ports = [
  { name: "tcp", port: 80, targetPort: HTTP },
  { name: "tls", port: 443, targetPort: TLS },
];
const services = [{ name: "api" }, { name: "near" }, { name: "far" }];
const routes = `apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: shares, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 80}]
  rules: [{backendRefs: [{name: far, port: 80, weight: 3}, {name: near, port: 80, weight: 1}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: far, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 443}]
  hostnames: [far.example]
  rules: [{backendRefs: [{name: far, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: others, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 443}]
  hostnames: ["*.example"]
  rules: [{backendRefs: [{name: near, port: 443}]}]
`;
let journey: Journey;
const pod = (name: string): Host => journey.cluster.pod(name);
before(async () => {
  journey = await startJourney({ nodes }, (cluster) =>
    meshOf([ambientNamespace(), ...workloadsOf(cluster), ...servicesOf(services, ports), routes]),
  );
  for (const name of ["near", "far"]) {
    await serve(pod(name), supportProgram("echo-http"), HTTP, name);
    await serve(pod(name), supportProgram("echo-tls"), TLS, name);
  }
});
after(() => journey?.close());

const refused = (cause: string): Promise<AccessEntry> =>
  until(`a line with ${cause}`, 10_000, () =>
    accessLog(journey.cluster.node("node-a")).find(({ error = "" }) => error.startsWith(cause)),
  );

test("each connection falls to a backend by weight, over IPv4 and IPv6, across nodes and on one node", async () => {
  for (const address of [called.ip4, `[${called.ip6}]`]) {
    const ask = `for nth in $(seq 80); do curl -sS -m 10 http://${address}/nothing; done`;
    const done = await pod("client").run(["bash", "-c", ask], 60_000);
    const names = done.stdout
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { readonly name: string }).name);
    const far = names.filter((name) => name === "far").length;
    // Of 80 with a share of three quarters fewer than 40 or all come once in a hundred million times.
    assert.ok(names.length === 80 && far >= 40 && far < 80, `${far} of ${names.length}: ${tail(done.stderr)}`);
  }
});

/** What the server says, or curl's status where there is none. */
async function named(server: string): Promise<string> {
  const at = ["--connect-to", `${server}:443:${called.ip4}:443`];
  const ask = ["curl", "-sSk", "--http0.9", "-m", "10", ...at, `https://${server}/`];
  const done = await pod("client").run(ask, 20_000);
  return done.status === 0 ? done.stdout.trim() : `status ${done.status}`;
}

test("the server that TLS names chooses who answers, and TLS is between the two applications", async () => {
  assert.equal(await named("far.example"), "far far.example");
  assert.equal(await named("near.example"), "near near.example");
  assert.equal(await named("a.b.example"), "near a.b.example");
  assert.match(await named("elsewhere.test"), /^status (?:35|56)$/);
  await refused("no-tls-route");
});

test("a first message in small pieces is read; what is no TLS, or says nothing, is refused", async () => {
  // A terminal's worth of bytes a second is more than many senders have: a hello in pieces of 40 bytes.
  const slow = `
    const net = require("node:net");
    const tls = require("node:tls");
    const { Duplex } = require("node:stream");
    const socket = net.connect(443, "${called.ip4}");
    socket.setNoDelay(true);
    let sent = 0;
    const pieces = new Duplex({
      read() {},
      async write(chunk, _, done) {
        for (let at = 0; at < chunk.length; at += 100) {
          socket.write(chunk.subarray(at, at + 100));
          if (sent++ < 6) await new Promise((resolve) => setTimeout(resolve, 20));
        }
        done();
      },
    });
    socket.on("data", (chunk) => pieces.push(chunk));
    tls.connect({ socket: pieces, servername: "far.example", rejectUnauthorized: false }).pipe(process.stdout);
  `;
  const done = await pod("client").run([process.execPath, "-e", slow], 20_000);
  assert.equal(done.stdout, "far far.example\n", tail(done.stderr));
  const http = await pod("client").run(["curl", "-sS", "-m", "10", `http://${called.ip4}:443/`], 20_000);
  assert.notEqual(http.status, 0);
  await refused("not-tls");
  const silent = await pod("client").run(["timeout", "60", "bash", "-c", `cat < /dev/tcp/${called.ip4}/443`], 70_000);
  assert.notEqual(silent.status, 124, "it is refused");
});

test("orlop get routes and explain say it", async () => {
  const node = journey.cluster.node("node-a");
  const routes = await orlopOn(node, "get", "routes", "-o", "wide");
  assert.match(routes, /demo +shares +TCPRoute +demo\/api:80 +producer +1 +75 % demo\/far:80, 25 % demo\/near:80/);
  assert.match(routes, /demo +far +TLSRoute +demo\/api:443 .*far\.example/);
  const explained = await orlopOn(node, "explain", "demo/client", "demo/api:443", "--host", "far.example");
  assert.match(explained, /route +TLSRoute demo\/far at \S+, server far\.example: takes it, to demo\/far:443/);
  assert.match(explained, /^ALLOW/);
});

test("while no agent lives, ports with these routes refuse", async () => {
  await whileAgentHangs(journey.cluster.node("node-a"), async () => {
    for (const port of [80, 443])
      await until("a refusal", 30_000, async () => {
        const dial = ["timeout", "5", "bash", "-c", `exec 3<> /dev/tcp/${called.ip4}/${port}`];
        return (await pod("client").run(dial, 10_000)).stderr.includes("Connection refused") ? true : undefined;
      });
  });
});
