// demo · scenarios of single calls: who reaches whom, as whom, and what either side sees of the other.

import { call, greet, transfer } from "../app/roles.ts";
import { type DemoBox, expect, logSince } from "../mesh/mesh-box.ts";
import { apiService, identityOf } from "../mesh/mesh-file.ts";
import { readWire } from "../wire/wire.ts";
import type { Scenario } from "./scenario.ts";

/** What enrolled pods say to each other; it must never be readable on the wire. */
const SECRET = "between-us-only";
const ECHO = 8080;

async function crossNode(box: DemoBox): Promise<string> {
  const log = logSince(box.nodeOf("vault"));
  const result = await call(box.pod("web"), { host: box.pod("vault").ip4, port: ECHO }, SECRET);
  expect(result, "an answer of vault", result.reply?.pod === "vault");
  const entry = await log.find(
    "the call",
    (line) => line["src.workload"] === "web" && line["dst.workload"] === "vault",
  );
  const [source, destination] = [entry["src.identity"], entry["dst.identity"]];
  expect(entry, "both identities", source === identityOf("web") && destination === identityOf("vault"));
  expect(entry, "mutual TLS", entry.security === "mtls");
  return `${source} → ${destination}, mTLS, ${result.ms} ms`;
}

async function addresses(box: DemoBox): Promise<string> {
  const web = box.pod("web");
  const service = `${apiService.ip4}:${apiService.port}`;
  const asked = [
    { host: apiService.ip4, port: apiService.port, remote: service, own: `${web.ip4}:` },
    {
      host: apiService.ip6,
      port: apiService.port,
      remote: `[${apiService.ip6}]:${apiService.port}`,
      own: `[${web.ip6}]:`,
    },
    {
      host: `::ffff:${apiService.ip4}`,
      port: apiService.port,
      remote: `[::ffff:${apiService.ip4}]:${apiService.port}`,
      own: `${web.ip4}:`,
    },
  ];
  for (const { host, port, remote, own } of asked) {
    const result = await call(web, { host, port }, SECRET);
    expect(result, `an answer of api by ${host}`, result.reply?.pod === "api");
    expect(result, `api to see ${own}…`, result.reply?.peer.startsWith(own) === true);
    expect(result, `web to see ${remote}`, result.remote === remote);
  }
  return `api sees ${web.ip4}, web sees ${service}; IPv4, IPv6 and IPv4-mapped`;
}

async function sameNode(box: DemoBox): Promise<string> {
  const log = logSince(box.nodeOf("cache"));
  const web = box.pod("web");
  const result = await call(web, { host: box.pod("cache").ip6, port: ECHO }, SECRET);
  expect(result, "an answer of cache", result.reply?.pod === "cache");
  expect(result, "cache to see web's address", result.reply?.peer.startsWith(`[${web.ip6}]:`) === true);
  const entry = await log.find(
    "the call",
    (line) => line["src.workload"] === "web" && line["dst.workload"] === "cache",
  );
  expect(entry, "web's identity", entry["src.identity"] === identityOf("web"));
  return `${entry["src.identity"]}, ${result.ms} ms`;
}

async function denied(box: DemoBox): Promise<string> {
  const log = logSince(box.nodeOf("api"));
  const result = await call(box.pod("batch"), { host: box.pod("api").ip4, port: ECHO }, SECRET);
  expect(result, "no answer", result.reply === undefined);
  const entry = await log.find("the refusal", (line) => line["src.workload"] === "batch" && line.reason !== undefined);
  const fine = entry.reason === "denied-by-policy" && entry.policy?.startsWith("demo/no-batch") === true;
  expect(entry, "a refusal by demo/no-batch", fine);
  return `${entry.policy} at ${entry.rule?.replace(box.cluster.dir, ".")}; the client sees ${result.error}`;
}

async function plaintext(box: DemoBox): Promise<string> {
  const legacy = box.pod("legacy");
  const strict = await call(legacy, { host: box.pod("vault").ip4, port: ECHO });
  expect(strict, "STRICT to refuse", strict.error === "ECONNREFUSED" || strict.error === "ECONNRESET");
  for (const name of ["cache", "api"]) {
    const open = await call(legacy, { host: box.pod(name).ip4, port: ECHO });
    expect(open, `PERMISSIVE ${name} to accept`, open.reply?.pod === name);
    expect(open, "the client's own address", open.reply?.peer.startsWith(`${legacy.ip4}:`) === true);
  }
  return `vault ${strict.error}; cache (no policy) and api (judged) answer`;
}

async function outside(box: DemoBox): Promise<string> {
  const web = box.pod("web");
  for (const [host, own] of [
    [box.cluster.outside.ip4, `${web.ip4}:`],
    [box.cluster.outside.ip6, `[${web.ip6}]:`],
  ] as const) {
    const result = await call(web, { host, port: ECHO });
    expect(result, "an answer from outside", result.reply?.pod === "outside");
    expect(result, "the pod's own address", result.reply?.peer.startsWith(own) === true);
  }
  return `${box.cluster.outside.ip4} and ${box.cluster.outside.ip6} answer`;
}

async function serverFirst(box: DemoBox): Promise<string> {
  const result = await greet(box.pod("web"), { host: box.pod("api").ip4, port: 8081 });
  expect(result, "a greeting of api", result.greeting?.startsWith("220 api") === true);
  expect(result, "it at once, not after a timer of ours", result.ms < 4_000);
  return `"${result.greeting}" after ${result.ms} ms`;
}

async function wire(box: DemoBox): Promise<string> {
  const [web, api] = [box.pod("web"), box.pod("api")];
  for (const [from, host] of [
    [web, api.ip6],
    [api, web.ip4],
  ] as const) {
    const result = await call(from, { host, port: ECHO }, SECRET);
    expect(result, "an answer", result.reply?.said === SECRET);
  }
  const reading = readWire(await box.wire.stop(), box.meshAddresses(), [SECRET]);
  expect(reading, "TLS records with data", reading.applicationBytes > 0 && reading.streams > 0);
  return (
    `since the start ${reading.meshPackets} packets between meshed pods: ${reading.records} TLS records in ` +
    `${reading.streams / 2} connections to 15008, nothing else`
  );
}

async function hundredMegabytes(box: DemoBox): Promise<string> {
  const result = await transfer(box.pod("web"), { host: box.pod("api").ip4, port: 8082 }, 100_000_000);
  expect(result, "no error", result.error === undefined);
  for (const side of [result.client, result.server]) {
    expect(result, "100,000,000 bytes with their SHA-256", side?.bytes === 100_000_000 && side.matches);
  }
  const sums = `${result.client?.sha256.slice(0, 8)}…, ${result.server?.sha256.slice(0, 8)}…`;
  return `SHA-256 ${sums} equal; both ways at once in ${(result.ms / 1000).toFixed(1)} s`;
}

export const callScenarios: readonly Scenario[] = [
  { name: "cross-node call allowed, both identities", run: crossNode },
  { name: "each side sees the other's own address", run: addresses },
  { name: "same-node call", run: sameNode },
  { name: "call denied by AuthorizationPolicy", run: denied },
  { name: "not enrolled: STRICT refuses, PERMISSIVE accepts", run: plaintext },
  { name: "address outside the mesh passes through", run: outside },
  { name: "server-first protocol greets at once", run: serverFirst },
  { name: "on the wire: TLS on 15008, nothing else", run: wire },
  { name: "100 MB both ways", run: hundredMegabytes },
];
