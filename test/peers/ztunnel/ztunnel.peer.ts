// test peers · ztunnel judges, by the binary that ZTUNNEL_BIN names: in dedicated mode on the host outside it terminates HBONE that pods
// of the mesh originate, and originates HBONE into the mesh for what is redirected to it.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { call, startPing } from "../../../demo/app/roles.ts";
import { appPorts } from "../../../demo/app/server.ts";
import { logSince } from "../../../demo/mesh/mesh-box.ts";
import { identityOf } from "../../../demo/mesh/mesh-file.ts";
import { type AccessEntry, readAccessLine, until } from "../../../demo/mesh/mesh-run.ts";
import { type Running, tail } from "../../box/process.ts";
import { dns, type Made } from "../../support/hostile-certificates.ts";
import { keyPem } from "../../support/journey-box.ts";
import { openMany } from "../../support/many.ts";
import { peerCase } from "../support/cases.ts";
import { soak } from "../support/soak.ts";
import {
  assertLivesBesideAborts,
  assertMany,
  assertRefused,
  assertReset,
  assertTransfer,
  HALF_A_TUNNEL,
} from "../support/tunnel-cases.ts";
import { abortMany, openWorld, type PeerServer, type World } from "../support/world.ts";

const CA_PORT = 15_012;
const OUTBOUND_PORT = 15_001;
const TRANSFERS = [0, 1, 16_385, 64_000_000] as const;
const AT_ONCE = 150;
/** The mesh says that another identity has the second address; ztunnel has one for all. */
const servers: readonly PeerServer[] = [
  { name: "ztunnel-plain", address: "10.90.0.210", serviceAccount: "ztunnel" },
  { name: "ztunnel-impostor", address: "10.90.0.211", serviceAccount: "somebody-else" },
];
const [plain, impostor] = ["10.90.0.210", "10.90.0.211"];

let world: World;
let ztunnel: Running;

before(async () => {
  world = await openWorld(servers);
  const { cluster, outside, trusted } = world;
  const folder = path.join(cluster.dir, "peers");
  const write = (name: string, text: string): string => {
    const file = path.join(folder, name);
    writeFileSync(file, text);
    return file;
  };
  const pair = (name: string, made: Made): readonly string[] => [
    write(`${name}.pem`, made.pem),
    write(`${name}.key`, keyPem(made.pkcs8)),
  ];
  // The authority signs with the first root of its file and hands out all of them: Orlop's own is among them.
  const roots = [
    write("ztunnel-roots.pem", trusted.root.pem + readFileSync(world.roots, "utf8")),
    ...pair("root", trusted.root).slice(1),
  ];
  const program = fileURLToPath(new URL("./istio-ca.ts", import.meta.url));
  const words = ["127.0.0.1", String(CA_PORT), ...roots, ...pair("authority", trusted.named(dns("localhost")))];
  const authority = outside.start([process.execPath, program, ...words]);
  await authority.line(20_000, (line) => line === "listening");
  const workload = (name: string, addresses: readonly string[], serviceAccount = name): object => ({
    ...{ uid: `peers//Pod/demo/${name}`, name, namespace: "demo", serviceAccount, trustDomain: "cluster.local" },
    ...{ workloadIps: addresses, protocol: "HBONE", node: "outside", network: "", services: {} },
  });
  const ip4 = (name: string): string => cluster.pod(name).ip4;
  const workloads = [
    workload("ztunnel", [outside.ip4, plain ?? "", impostor ?? ""]),
    ...[workload("api", [ip4("api")]), workload("vault", [ip4("vault")])],
    // So it expects another identity than the server has.
    workload("cache", [ip4("cache")], "vault"),
  ];
  ztunnel = outside.start([process.env.ZTUNNEL_BIN ?? ""], {
    env: {
      ...{ PATH: process.env.PATH, PROXY_MODE: "dedicated", PROXY_WORKLOAD_INFO: "demo/ztunnel/ztunnel" },
      ...{ CA_ADDRESS: `https://localhost:${CA_PORT}`, CA_ROOT_CA: roots[0], XDS_ADDRESS: "" },
      LOCAL_XDS_PATH: write("ztunnel.json", JSON.stringify({ workloads, services: [], policies: [] })),
      ...{ PACKET_MARK: "1337", ENABLE_ORIG_SRC: "false", IPV6_ENABLED: "false", ISTIO_META_DNS_CAPTURE: "false" },
    },
  });
  const ask = 'exec 3<> /dev/tcp/127.0.0.1/15021 && printf "GET /healthz/ready HTTP/1.0\r\n\r\n" >&3 && head -1 <&3';
  await until("ztunnel is ready", 30_000, async () => {
    if (!ztunnel.running) throw new Error(`ztunnel ended: ${tail(ztunnel.stderr || ztunnel.stdout)}`);
    return (await outside.run(["bash", "--norc", "-c", ask])).stdout.includes(" 200") || undefined;
  });
  const redirected = ["-p", "tcp", "!", "-o", "lo", "-m", "mark", "!", "--mark", "0x539/0xfff"];
  const jump = ["-j", "REDIRECT", "--to-ports", String(OUTBOUND_PORT)];
  const rule = await outside.run(["iptables", "-t", "nat", "-A", "OUTPUT", ...redirected, ...jump]);
  assert.equal(rule.status, 0, tail(rule.stderr));
});
after(() => world?.close());

const web = () => world.cluster.pod("web");
const outside = () => world.outside;
const pod = (name: string, port: number) => ({ host: world.cluster.pod(name).ip4, port });
const served = { host: plain ?? "", port: appPorts.echo };
/** Its lines of the access log. */
const told = (): readonly AccessEntry[] =>
  `${ztunnel.stdout}\n${ztunnel.stderr}`
    .split("\n")
    .filter((line) => line.includes("\taccess\tconnection complete\t"))
    .map(readAccessLine);
/** What both programs write of the same connection. */
const shared = ["src.addr", "src.identity", "dst.addr", "dst.hbone_addr", "dst.identity"];
const sharedOf = (entry: AccessEntry): readonly unknown[] => shared.map((key) => entry[key]);
/** Each of ztunnel's keys is in our line, and in its order. The test's mesh gives ztunnel no services and Orlop no such cluster. */
function assertKeys(ours: AccessEntry, theirs: AccessEntry): void {
  const keys = Object.keys(theirs).filter((key) => !key.endsWith(".cluster"));
  assert.deepEqual(
    Object.keys(ours).filter((key) => keys.includes(key)),
    keys,
  );
}

peerCase("ztunnel", "server: both know the other's identity, and write the same of the connection", async () => {
  const log = logSince(world.cluster.node("node-a"));
  const result = await call(web(), served);
  assert.equal(result.reply?.said, "hello", JSON.stringify(result));
  const ours = await log.find("the call", (line) => line["dst.workload"] === "ztunnel-plain");
  const theirs = await until("ztunnel's line", 10_000, () => told().find(({ direction }) => direction === "inbound"));
  assert.deepEqual([ours["dst.identity"], ours.security], [identityOf("ztunnel"), "mtls"]);
  assert.equal(theirs["src.identity"], identityOf("web"));
  // A tunnel's port is its own; behind it both name the pod's connection.
  assert.deepEqual(sharedOf(ours).slice(1), sharedOf(theirs).slice(1));
  assert.deepEqual([ours.bytes_sent, ours.bytes_recv], [theirs.bytes_recv, theirs.bytes_sent]);
  assertKeys(ours, theirs);
});
for (const bytes of TRANSFERS) {
  peerCase("ztunnel", `server: ${bytes} bytes both ways at once, then half-close`, () =>
    assertTransfer(web(), { host: plain ?? "", port: appPorts.transfer }, bytes),
  );
}
peerCase("ztunnel", `server: ${AT_ONCE} connections at once`, () => assertMany(web(), served, AT_ONCE));
peerCase("ztunnel", "server: of another identity than the mesh says, it is not called", () =>
  assertRefused(web(), { ...served, host: impostor ?? "" }),
);
peerCase("ztunnel", "server: a port that nobody serves ends the call at once", () =>
  assertRefused(web(), { ...served, port: 9 }),
);
// istio/ztunnel#1483: whatever the code of a RST_STREAM, ztunnel ends the connection in order.
peerCase("ztunnel", "server: it makes an end of its application's reset", () =>
  assertReset(web(), { host: plain ?? "", port: appPorts.transfer }, "ended"),
);
peerCase("ztunnel", "server: many aborted connections beside a long one, which lives", () =>
  assertLivesBesideAborts(web(), served, HALF_A_TUNNEL),
);
peerCase("ztunnel", "server: many aborted while it is busy, beside a long connection, which lives", async () => {
  const pinger = await startPing(web(), served, 20);
  ztunnel.kill("SIGSTOP");
  try {
    await abortMany(web(), served, 300, 50, HALF_A_TUNNEL);
  } finally {
    ztunnel.kill("SIGCONT");
  }
  // Refused until the first of the abandoned CONNECTs have their answers.
  await until("a call to be answered", 60_000, async () => (await call(web(), served)).reply);
  await pinger.finish();
});

peerCase("ztunnel", "client: it is known by its identity, and both write the same of the connection", async () => {
  const log = logSince(world.cluster.node("node-b"));
  const result = await call(outside(), pod("api", appPorts.echo));
  assert.equal(result.reply?.pod, "api", JSON.stringify(result));
  const ours = await log.find("the call", (line) => line.direction === "inbound");
  const theirs = await until("ztunnel's line", 10_000, () => told().find(({ direction }) => direction === "outbound"));
  assert.deepEqual([ours["src.identity"], ours.security], [identityOf("ztunnel"), "mtls"]);
  assert.deepEqual(sharedOf(ours).slice(1), sharedOf(theirs).slice(1));
  assert.deepEqual([ours.bytes_sent, ours.bytes_recv], [theirs.bytes_recv, theirs.bytes_sent]);
  assertKeys(ours, theirs);
});
for (const bytes of TRANSFERS) {
  peerCase("ztunnel", `client: ${bytes} bytes both ways at once, then half-close`, () =>
    assertTransfer(outside(), pod("api", appPorts.transfer), bytes),
  );
}
peerCase("ztunnel", `client: ${AT_ONCE} connections at once`, () =>
  assertMany(outside(), pod("api", appPorts.echo), AT_ONCE),
);
for (const [what, name, port] of [
  ["STRICT does not name it", "vault", appPorts.echo],
  ["the server is not whom it expects", "cache", appPorts.echo],
  ["nobody listens at the port", "api", 9],
] as const) {
  peerCase("ztunnel", `client: no answer when ${what}`, () => assertRefused(outside(), pod(name, port)));
}
peerCase("ztunnel", "client: it makes an end of the application's reset", () =>
  assertReset(outside(), pod("api", appPorts.transfer), "ended"),
);
peerCase("ztunnel", "client: many aborted connections beside a long one, which lives", () =>
  assertLivesBesideAborts(outside(), pod("api", appPorts.echo)),
);
peerCase("ztunnel", "client: killed, its connections end, and those of others go on", async () => {
  const others = await startPing(world.cluster.pod("cache"), pod("api", appPorts.echo), 20);
  const many = await openMany(outside(), pod("api", appPorts.echo), soak(20, 200));
  ztunnel.kill("SIGKILL");
  assert.equal((await many.allDead(20_000)).alive, 0);
  await others.finish();
});
