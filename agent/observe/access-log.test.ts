// Tests of access-log.ts and line-writer.ts: the exact line, hostile values, and a sink that stalls.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { accessLine } from "./access-line.fake.ts";
import type { AccessLogFormat } from "./access-log.ts";
import { AlikeRecords } from "./alike.ts";
import { encoded } from "./line-bytes.ts";
import { LineBatch, LineWriter, openSink, type Sink } from "./line-writer.ts";
import { anOutcome, aRecord, aWorkload } from "./record.fake.ts";
import type { ConnectionRecord, Outcome } from "./record.ts";

const at = Date.UTC(2026, 7, 20, 10, 0, 0, 123);

function lineOf(record: ConnectionRecord, outcome: Outcome, format: AccessLogFormat = "text", alike = record): string {
  const { port } = record.source;
  return accessLine({ alike, port, traceId: record.traceId }, outcome, { atMs: at, format });
}

test("a complete connection, in ztunnel's words", () => {
  assert.equal(
    lineOf(aRecord(), anOutcome({ sentBytes: 512, receivedBytes: 80 })),
    "2026-08-20T10:00:00.123000Z\tinfo\taccess\tconnection complete\t" +
      'src.addr=10.0.0.1:40000 src.workload="web" src.namespace="shop" src.identity="spiffe://cluster.local/ns/shop/sa/web" src.cluster="test" ' +
      'dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:8080 dst.service="api.shop.svc.cluster.local" dst.workload="api" dst.namespace="shop" ' +
      'dst.identity="spiffe://cluster.local/ns/shop/sa/api" dst.cluster="test" direction="outbound" bytes_sent=512 bytes_recv=80 duration="3ms" security="mtls"\n',
  );
});

test("a denial names policy, reason, rule and nearest miss", () => {
  const decision = {
    verdict: "deny",
    layer: "L4",
    reason: "denied-by-policy",
    policy: "shop/deny-web[0]",
    at: "mesh.yaml:31",
    nearestMiss: "",
    audited: [],
    dryRunDenied: [],
  } as const;
  const line = lineOf(aRecord({ decision }), anOutcome({ flag: "DENY", cause: "refused" }));
  assert.match(line, /\terror\taccess\tconnection complete\t/);
  assert.match(line, /error="connection closed due to policy rejection: denied-by-policy" response_flags="DENY"/);
  assert.match(line, /policy="shop\/deny-web\[0\]" reason="denied-by-policy" rule="mesh.yaml:31"/);
});

test("what is written of what connections have alike is the same for each of them, and the rest is its own", () => {
  const alikeRecords = new AlikeRecords();
  const dialled = { address: "10.96.0.1", port: 80 };
  const audited = {
    verdict: "allow",
    layer: "L4",
    reason: null,
    policy: "shop/p[0]",
    at: "",
    nearestMiss: "",
  } as const;
  const decision = { ...audited, audited: ["shop/a[0]"], dryRunDenied: [] };
  const later = { ...decision, verdict: "deny", reason: "no-allow-matched", audited: [] } as const;
  const outcomes = [
    anOutcome({ sentBytes: 1 }),
    anOutcome({ flag: "CONNECT", cause: "connect-failed", message: "no route" }),
    anOutcome({ flag: "DENY", cause: "policy", decision: later }),
  ];
  for (const format of ["text", "json"] as const)
    for (const [nth, outcome] of [...outcomes, ...outcomes].entries()) {
      const source = { ...aRecord().source, port: 1_000 + nth };
      const record = aRecord({ source, dialled, decision, traceId: nth % 2 === 0 ? "" : `${nth}`.repeat(32) });
      const alike = alikeRecords.of(record);
      assert.equal(lineOf(record, outcome, format, alike), lineOf(record, outcome, format, { ...record }));
    }
});

test("IPv6 is bracketed; JSON has the same fields", () => {
  const record = aRecord({ source: { address: "fd00::1", port: 1, workload: null, identity: null } });
  assert.match(lineOf(record, anOutcome()), /\tsrc\.addr=\[fd00::1\]:1 dst\.addr/);
  const parsed: unknown = JSON.parse(lineOf(record, anOutcome({ sentBytes: 3 }), "json"));
  assert.ok(typeof parsed === "object" && parsed !== null);
  assert.equal(Reflect.get(parsed, "bytes_sent"), 3);
  assert.equal(Reflect.get(parsed, "message"), "connection complete");
});

test("whatever bytes a peer or a name holds, the line is one line without control characters (B6)", () => {
  const nasty = fc.string({ unit: "binary", maxLength: 700 });
  const fixed = [
    "\r\n2026 fake line",
    "\u001b[2Jx",
    "a\u0000b",
    'x" policy="y',
    "\u2028\u2029\u009b31m\u202e",
    "\ud800",
  ];
  const property = fc.property(
    fc.oneof(nasty, fc.constantFrom(...fixed)),
    fc.constantFrom("text", "json"),
    (text, format) => {
      const workload = aWorkload({ name: text, namespace: text });
      const record = aRecord({
        source: { address: text, port: 1, workload, identity: null },
        service: { name: text, namespace: text, hostname: text },
        traceId: text,
      });
      const line = lineOf(record, anOutcome({ flag: "TLS_FAILURE", message: text }), format);
      assert.equal(line.indexOf("\n"), line.length - 1);
      assert.doesNotMatch(line.slice(0, -1).replaceAll("\t", ""), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      assert.ok(line.length < 20_000);
      if (format === "json") JSON.parse(line);
      // Quotes pair up: no value ends another one's field.
      else assert.equal(line.replaceAll(/\\./g, "").split('"').length % 2, 1);
    },
  );
  fc.assert(property, { numRuns: 400 });
});

test("a sink that takes little at a time loses nothing and keeps the order", async () => {
  let seen = "";
  const sink: Sink = (bytes, done) => {
    const part = bytes.subarray(0, 7);
    seen += Buffer.from(part).toString();
    setImmediate(() => done(null, part.length));
  };
  const writer = new LineWriter({ sink });
  for (let i = 0; i < 50; i += 1) writer.add(encoded(`line ${i}\n`), 1);
  await writer.flush();
  assert.equal(seen, Array.from({ length: 50 }, (_, i) => `line ${i}\n`).join(""));
  assert.equal(writer.dropped, 0);
});

test("a sink that stalls costs the newest lines, counted, within the bound", async () => {
  const held: (() => void)[] = [];
  let written = 0;
  const sink: Sink = (bytes, done) => {
    held.push(() => {
      written += bytes.length;
      done(null, bytes.length);
    });
  };
  const writer = new LineWriter({ sink, limitBytes: 100 });
  for (let i = 0; i < 30; i += 1) writer.add(encoded("0123456789"), 1);
  assert.equal(writer.dropped, 20);
  const flushed = writer.flush();
  while (held.length > 0) held.shift()?.();
  await flushed;
  assert.equal(written, 100);
});

test("a sink that says EAGAIN is asked again; one that fails is counted and left behind", async () => {
  const errors = ["EAGAIN", "ENOSPC", null];
  let seen = "";
  const sink: Sink = (bytes, done) => {
    const code = errors.shift() ?? null;
    if (code === null) seen += Buffer.from(bytes).toString();
    setImmediate(() => done(code === null ? null : Object.assign(new Error(code), { code }), bytes.length));
  };
  const writer = new LineWriter({ sink, retryMs: 1 });
  writer.add(encoded("lost\n"), 1);
  await writer.flush();
  writer.add(encoded("kept\n"), 1);
  await writer.flush();
  assert.equal(writer.dropped, 1);
  assert.equal(seen, "kept\n");
});

test("a file is appended to, and a symbolic link in its place is refused", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "orlop-log-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "access.log");
  for (const line of ["one\n", "two\n"]) {
    const { sink, close } = openSink({ path });
    const writer = new LineWriter({ sink });
    writer.add(encoded(line), 1);
    await writer.flush();
    close();
  }
  assert.equal(readFileSync(path, "utf8"), "one\ntwo\n");
});

test("a batch is bounded and says what it dropped", () => {
  const batch = new LineBatch(2);
  for (const line of ["a\n", "b\n", "c\n"]) batch.add(line);
  assert.deepEqual(batch.take(), { bytes: encoded("a\nb\n"), lines: 2, dropped: 1 });
  assert.deepEqual(batch.take(), { bytes: encoded(""), lines: 0, dropped: 0 });
});
