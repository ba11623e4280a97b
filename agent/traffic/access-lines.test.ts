// For each kind of connection: its events, the access-log line that Orlop writes, and the line that ztunnel writes.
// ztunnel's lines were written by hand from its source at commit 62d82653. The keys and their order come from `record_internal` and
// `log_early_deny` (istio/ztunnel:src/proxy/metrics.rs). Each kind below names the code that decides which keys have a value. The
// byte counts follow ztunnel's own test (istio/ztunnel:tests/namespaced.rs, simple_client_server_test).
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessLine } from "../observe/access-line.fake.ts";
import { deny } from "../policy/policy.fake.ts";
import { Bench } from "./traffic.fake.ts";

/** Keys of ours: they follow ztunnel's in each line. */
const ownKeys = ["dst.dialled_addr", "response_flags", "security", "policy", "reason", "rule", "trace_id"];
/** In a line of an early refusal ztunnel has four keys; ours has these of a whole record as well. */
const wholeKeys = ["src", "dst"].flatMap((end) =>
  ["workload", "namespace", "identity", "cluster"].map((k) => `${end}.${k}`),
);

const webEnd = 'src.workload="web" src.namespace="shop"';
const webIdentity = 'src.identity="spiffe://cluster.local/ns/shop/sa/web"';
const apiIdentity = "spiffe://cluster.local/ns/shop/sa/api";
const complete = "connection complete";

type Kind = {
  readonly name: string;
  /** Leaves one connection ended in the bench. */
  readonly run: (bench: Bench) => void;
  readonly head: string;
  readonly ztunnel: string;
};

/** The client sends 5 bytes and gets 7. */
const carry = (bench: Bench, event: Parameters<Bench["engine"]["feed"]>[0], upstream: string, port: number): void => {
  if (!("conn" in event)) throw new Error("no connection");
  const { conn, generation } = event;
  bench.engine.feed(event);
  const reached = { address: upstream, port };
  bench.engine.feed({ conn, generation, type: "established", upstream: reached, elapsedUs: 1, baggage: "" });
  bench.close({ conn, generation }, "finished", { sentBytes: 5, receivedBytes: 7, durationUs: 12_900 });
};

const kinds: readonly Kind[] = [
  {
    // istio/ztunnel:src/proxy/outbound.rs, proxy_to and conn_metrics_from_request (HBONE)
    name: "outbound, through a tunnel, to a pod's address",
    run: (bench) => carry(bench, bench.outbound({ address: "10.0.0.2", port: 8080 }), "10.0.0.2", 15_008),
    head: `info ${complete}`,
    ztunnel:
      `src.addr=10.0.0.1:40000 ${webEnd} ${webIdentity} src.cluster="box" dst.addr=10.0.0.2:15008 ` +
      `dst.hbone_addr=10.0.0.2:8080 dst.workload="api" dst.namespace="shop" dst.identity="${apiIdentity}" ` +
      'dst.cluster="box" direction="outbound" bytes_sent=5 bytes_recv=7 duration="12ms"',
  },
  {
    // istio/ztunnel:README.md, "Logging": a Service that was dialled is dst.service
    name: "outbound, through a tunnel, to a Service's address",
    run: (bench) => carry(bench, bench.outbound({ address: "10.96.0.1", port: 80 }), "10.0.0.2", 15_008),
    head: `info ${complete}`,
    ztunnel:
      `src.addr=10.0.0.1:40000 ${webEnd} ${webIdentity} src.cluster="box" dst.addr=10.0.0.2:15008 ` +
      'dst.hbone_addr=10.0.0.2:8080 dst.service="api.shop.svc.cluster.local" dst.workload="api" dst.namespace="shop" ' +
      `dst.identity="${apiIdentity}" dst.cluster="box" direction="outbound" bytes_sent=5 bytes_recv=7 duration="12ms"`,
  },
  {
    // istio/ztunnel:src/proxy/inbound.rs, build_inbound_request: "report the original destination (with 15008 port) as dst.addr"
    name: "inbound, through a tunnel",
    run: (bench) => carry(bench, bench.connect("10.0.0.1:8080"), "10.0.0.1", 8080),
    head: `info ${complete}`,
    ztunnel:
      `src.addr=10.0.0.2:41000 src.workload="api" src.namespace="shop" src.identity="${apiIdentity}" src.cluster="box" ` +
      'dst.addr=10.0.0.1:15008 dst.hbone_addr=10.0.0.1:8080 dst.workload="web" dst.namespace="shop" ' +
      'dst.identity="spiffe://cluster.local/ns/shop/sa/web" dst.cluster="box" direction="inbound" bytes_sent=7 bytes_recv=5 duration="12ms"',
  },
  {
    // istio/ztunnel:src/proxy/outbound.rs, conn_metrics_from_request (TCP): no identity without mTLS
    name: "outbound, to an address outside the mesh",
    run: (bench) => carry(bench, bench.outbound({ address: "203.0.113.9", port: 443 }), "203.0.113.9", 443),
    head: `info ${complete}`,
    ztunnel:
      `src.addr=10.0.0.1:40000 ${webEnd} src.cluster="box" dst.addr=203.0.113.9:443 ` +
      'direction="outbound" bytes_sent=5 bytes_recv=7 duration="12ms"',
  },
  {
    // istio/ztunnel:src/proxy/inbound_passthrough.rs, proxy_inbound_plaintext
    name: "inbound, in plaintext",
    run: (bench) => carry(bench, bench.plaintext(), "10.0.0.1", 8080),
    head: `info ${complete}`,
    ztunnel:
      'src.addr=10.9.9.9:50000 dst.addr=10.0.0.1:8080 dst.workload="web" dst.namespace="shop" dst.cluster="box" ' +
      'direction="inbound" bytes_sent=7 bytes_recv=5 duration="12ms"',
  },
  {
    // istio/ztunnel:src/proxy/inbound.rs, serve_connect: record_with_flag(AuthorizationPolicyDenied)
    name: "inbound, denied by policy",
    run: (bench) => {
      bench.judge = () => deny("no-allow-matched");
      const event = bench.connect("10.0.0.1:8080");
      bench.engine.feed(event);
      bench.close(event, "refused", { sentBytes: 0, receivedBytes: 0, durationUs: 300 });
    },
    head: `error ${complete}`,
    ztunnel:
      `src.addr=10.0.0.2:41000 src.workload="api" src.namespace="shop" src.identity="${apiIdentity}" src.cluster="box" ` +
      'dst.addr=10.0.0.1:15008 dst.hbone_addr=10.0.0.1:8080 dst.workload="web" dst.namespace="shop" ' +
      'dst.identity="spiffe://cluster.local/ns/shop/sa/web" dst.cluster="box" direction="inbound" bytes_sent=0 bytes_recv=0 duration="0ms" ' +
      'error="connection closed due to policy rejection: …"',
  },
  {
    // istio/ztunnel:src/proxy/outbound.rs, proxy_to_hbone: the error of send_hbone_request
    name: "outbound, refused by the peer",
    run: (bench) => {
      const event = bench.outbound({ address: "10.0.0.2", port: 8080 });
      bench.engine.feed(event);
      bench.close(event, "tunnel-refused", { detail: 401, sentBytes: 0, receivedBytes: 0, durationUs: 2_000 });
    },
    head: `error ${complete}`,
    ztunnel:
      `src.addr=10.0.0.1:40000 ${webEnd} ${webIdentity} src.cluster="box" dst.addr=10.0.0.2:15008 ` +
      `dst.hbone_addr=10.0.0.2:8080 dst.workload="api" dst.namespace="shop" dst.identity="${apiIdentity}" ` +
      'dst.cluster="box" direction="outbound" bytes_sent=0 bytes_recv=0 duration="2ms" error="…"',
  },
  {
    // istio/ztunnel:src/proxy/outbound.rs, proxy_to: build_request fails with NoHealthyUpstream
    name: "outbound, to a Service without an endpoint",
    run: (bench) => {
      bench.mesh.list = bench.mesh.list.filter(({ name }) => name !== "api");
      const event = bench.outbound({ address: "10.96.0.1", port: 80 });
      bench.engine.feed(event);
      bench.close(event, "refused", { sentBytes: 0, receivedBytes: 0 });
    },
    head: "warn connection failed",
    ztunnel: 'src.addr=10.0.0.1:40000 dst.addr=10.96.0.1:80 direction="outbound" error="…"',
  },
  {
    // istio/ztunnel:src/proxy/inbound.rs, serve_connect: build_inbound_request fails with ConnectAddress
    name: "inbound, with an authority that is no address",
    run: (bench) => {
      const event = bench.connect("10.0.0.1");
      bench.engine.feed(event);
      bench.close(event, "refused", { sentBytes: 0, receivedBytes: 0 });
    },
    head: "warn connection failed",
    ztunnel: 'src.addr=10.0.0.2:41000 dst.addr=10.0.0.1:15008 direction="inbound" error="…"',
  },
];

const keyOf = (field: string): string => field.slice(0, field.indexOf("="));

/** The fields of a line. What an error says is each program's own. */
function fieldsOf(body: string): string[] {
  const fields = body.match(/[\w.]+=(?:"(?:[^"\\]|\\.)*"|\S+)/g) ?? [];
  return fields
    .map((field) => field.replace(/^(error="connection closed due to policy rejection: ).*/, '$1…"'))
    .map((field) => (field.startsWith("error=") && !field.includes("policy rejection") ? 'error="…"' : field));
}

for (const { name, run, head, ztunnel } of kinds) {
  test(`${name}: the line is ztunnel's, and what Orlop adds follows`, () => {
    const bench = new Bench().serve();
    run(bench);
    const { record, outcome } = bench.last();
    const [, level, scope, message, body = ""] = accessLine(
      { alike: record, port: record.source.port, traceId: record.traceId },
      outcome,
      { atMs: 0, format: "text" },
    )
      .trimEnd()
      .split("\t");
    assert.deepEqual([`${level} ${message}`, scope], [head, "access"]);
    const ours = fieldsOf(body);
    const theirs = fieldsOf(ztunnel);
    const added =
      message === "connection failed"
        ? [...ownKeys, ...wholeKeys, "dst.service", "dst.hbone_addr", "bytes_sent", "bytes_recv", "duration"]
        : ownKeys;
    assert.deepEqual(
      ours.filter((field) => !added.includes(keyOf(field))),
      theirs,
    );
    if (message === complete) assert.deepEqual(ours.slice(0, theirs.length), theirs, "ours are the last");
  });
}
