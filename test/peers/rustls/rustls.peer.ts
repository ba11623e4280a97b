// test peers · rustls and h2 judge, the libraries of ztunnel with ztunnel's limits: aborts, resets, pools, key exchange.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before } from "node:test";
import { call, startPing } from "../../../demo/app/roles.ts";
import { appPorts } from "../../../demo/app/server.ts";
import { identityOf } from "../../../demo/mesh/mesh-file.ts";
import { until } from "../../../demo/mesh/mesh-run.ts";
import type { Running } from "../../box/process.ts";
import { openMany } from "../../support/many.ts";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { soak } from "../support/soak.ts";
import {
  assertLivesBesideAborts,
  assertLivesBesideGoaway,
  assertMany,
  clientCases,
  HALF_A_TUNNEL,
  serverCases,
} from "../support/tunnel-cases.ts";
import { abortMany, listening, openWorld, type PeerFiles, type PeerServer, type World } from "../support/world.ts";

const HBONE_PORT = 15_008;
/** Servers by name, each with an address of its own and what makes it different. */
const servers = {
  plain: ["10.90.0.210", {}],
  impostor: ["10.90.0.211", {}],
  stranger: ["10.90.0.212", {}],
  requests: ["10.90.0.213", { MAX_REQUESTS: "10" }],
  slow: ["10.90.0.214", { ANSWER_DELAY_MS: "500" }],
  streams1: ["10.90.0.215", { MAX_STREAMS: "1" }],
  streams5: ["10.90.0.216", { MAX_STREAMS: "5" }],
  streams50: ["10.90.0.217", { MAX_STREAMS: "50" }],
  streams100: ["10.90.0.218", { MAX_STREAMS: "100" }],
} as const;
type ServerName = keyof typeof servers;
const serverNames = Object.keys(servers) as ServerName[];
const workloads = serverNames.map(
  (name): PeerServer => ({ name: `rustls-${name}`, address: servers[name][0], serviceAccount: "rustls" }),
);
/** Clients by name: where each listens on 127.0.0.1 of the host outside. */
const clients = {
  echo: 9101,
  transfer: 9102,
  denied: 9103,
  wrongServer: 9104,
  stranger: 9105,
  noPort: 9106,
  vault: 9107,
  many: 9108,
} as const;
type ClientName = keyof typeof clients;

let world: World;
const running = new Map<string, Running>();

before(async () => {
  world = await openWorld(workloads);
  const { outside, roots, cluster } = world;
  const program = path.join(built("rustls"), "bin/hbone-peer");
  const own = world.identity("rustls");
  const strange = world.strangeIdentity("rustls");
  const start = (name: string, files: PeerFiles, words: readonly string[], more: object = {}): void => {
    const env = { ...process.env, CERT: files.certificate, KEY: files.key, CA: roots, ...more };
    running.set(name, outside.start([program, ...words], { env }));
  };
  for (const name of serverNames) {
    const files = name === "impostor" ? world.identity("impostor") : name === "stranger" ? strange : own;
    const [address, settings] = servers[name];
    start(name, files, ["server", `${address}:${HBONE_PORT}`], settings);
  }
  const client = (name: ClientName, to: "api" | "vault", port: number, files = own, expect: string = to): void => {
    const { ip4 } = cluster.pod(to);
    const target = [`${ip4}:${HBONE_PORT}`, `${ip4}:${port}`, identityOf(expect)];
    start(`client ${name}`, files, ["client", `127.0.0.1:${clients[name]}`, ...target]);
  };
  client("echo", "api", appPorts.echo);
  client("many", "api", appPorts.echo);
  client("transfer", "api", appPorts.transfer);
  client("noPort", "api", 9);
  client("denied", "api", appPorts.echo, world.identity("batch"));
  client("wrongServer", "api", appPorts.echo, own, "vault");
  client("stranger", "api", appPorts.echo, strange);
  client("vault", "vault", appPorts.echo, world.identity("web"));
  for (const program of running.values()) await program.line(20_000, (line) => line === "listening");
  await listening(outside, HBONE_PORT, programOf("plain"));
});
after(() => world?.close());

function programOf(name: string): Running {
  const found = running.get(name);
  if (found === undefined) throw new Error(`nothing is called ${name}`);
  return found;
}
const web = () => world.cluster.pod("web");
const echoAt = (name: ServerName) => ({ host: servers[name][0], port: appPorts.echo });
const entrance = (name: ClientName) => ({ host: "127.0.0.1", port: clients[name] });
const linesOf = (name: string, start: string): number =>
  programOf(name)
    .stdout.split("\n")
    .filter((line) => line.startsWith(start)).length;

serverCases("rustls", () => world, {
  plain: { name: "rustls-plain", address: servers.plain[0] },
  ...{ impostor: servers.impostor[0], stranger: servers.stranger[0] },
});
peerCase("rustls", "server: the key exchange is X25519MLKEM768, the caller's identity is its pod's", async () => {
  await call(web(), echoAt("plain"));
  assert.match(programOf("plain").stdout, new RegExp(`tunnel from ${identityOf("web")} by Some\\(X25519MLKEM768\\)`));
});
// Each end's client says which suite it likes first, and the server takes it: so transfers of both suites are judged.
peerCase("rustls", "server: AES-128; client: AES-256", async () => {
  await call(web(), echoAt("plain"));
  await call(world.outside, entrance("echo"));
  assert.match(programOf("plain").stdout, /tunnel from .* with Some\(TLS13_AES_128_GCM_SHA256\)/);
  assert.match(programOf("client echo").stdout, /tunnel opened .* with Some\(TLS13_AES_256_GCM_SHA384\)/);
});
peerCase("rustls", "server: one tunnel carries what comes after the other", async () => {
  await call(web(), echoAt("plain"));
  const before = linesOf("plain", "tunnel from");
  for (let i = 0; i < 10; i += 1) await call(web(), echoAt("plain"));
  assert.equal(linesOf("plain", "tunnel from"), before);
});
// h2 ends a tunnel after 20 resets of requests that it has read and its user has not taken. A server that is busy for a
// moment reads CONNECT and RST_STREAM of all of them together.
peerCase("rustls", "server: many aborted while it is busy, beside a long connection, which lives", async () => {
  const pinger = await startPing(web(), echoAt("plain"), 20);
  programOf("plain").kill("SIGSTOP");
  try {
    await abortMany(web(), echoAt("plain"), 300, 50, HALF_A_TUNNEL);
  } finally {
    programOf("plain").kill("SIGCONT");
  }
  // Refused until the first of the abandoned CONNECTs have their answers.
  await until("a call to be answered", 5_000, async () => (await call(web(), echoAt("plain"))).reply);
  await pinger.finish();
});
peerCase("rustls", "server: many aborted before it answers, beside a long connection, which lives", () =>
  assertLivesBesideAborts(web(), echoAt("slow"), HALF_A_TUNNEL),
);
peerCase("rustls", "server: GOAWAY after 10 requests: no call fails, a long one lives on", () =>
  assertLivesBesideGoaway(web(), servers.requests[0]),
);
for (const [limit, name] of [
  [1, "streams1"],
  [5, "streams5"],
  [50, "streams50"],
  [100, "streams100"],
] as const) {
  peerCase("rustls", `server: ${limit} streams a tunnel, 80 connections at once`, () =>
    assertMany(web(), echoAt(name), 80),
  );
}

clientCases("rustls", () => world, {
  ...{ echo: entrance("echo"), transfer: entrance("transfer"), noPort: entrance("noPort"), vault: entrance("vault") },
  ...{ denied: entrance("denied"), wrongServer: entrance("wrongServer"), stranger: entrance("stranger") },
});
peerCase("rustls", "client: it offers X25519MLKEM768 without a key share and is asked for it", async () => {
  const result = await call(world.outside, entrance("echo"));
  assert.equal(result.reply?.pod, "api", JSON.stringify(result));
  assert.match(programOf("client echo").stdout, /tunnel opened by Some\(X25519MLKEM768\)/);
});
peerCase("rustls", "client: its pool fills tunnels with 100 streams each", async () => {
  const count = soak(250, 2_000);
  const many = await openMany(world.outside, entrance("many"), count);
  assert.deepEqual([many.up.up, many.up.failed], [count, {}]);
  assert.equal((await many.finish()).alive, count);
  assert.equal(linesOf("client many", "tunnel opened"), Math.ceil(count / 100));
});
peerCase("rustls", "client: killed, its connections end, and those of others go on", async () => {
  const others = await startPing(
    world.cluster.pod("cache"),
    { host: world.cluster.pod("api").ip4, port: appPorts.echo },
    20,
  );
  const many = await openMany(world.outside, entrance("many"), 20);
  programOf("client many").kill("SIGKILL");
  const end = await many.allDead(20_000);
  assert.equal(end.alive, 0);
  await others.finish();
});
