// Lines of requests: Istio's keys, one line whatever a peer sent, and for which requests there is a line.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isNotable, requestLine } from "./access-log.ts";
import type { DecisionSummary } from "./decision-summary.ts";
import { aRecord } from "./record.fake.ts";
import type { RequestRecord } from "./request-record.ts";

const at = Date.UTC(2026, 7, 20, 10, 0, 0, 123);
const nothing: DecisionSummary = {
  ...{ verdict: "allow", layer: "L7", reason: null, policy: "shop/web[0]", at: "mesh.yaml:31" },
  ...{ nearestMiss: "", audited: [], dryRunDenied: [] },
};
function request(given: Partial<RequestRecord> = {}): RequestRecord {
  return {
    connection: aRecord({ reporter: "source", hbone: null }),
    ...{ route: null, attempts: 1 },
    ...{ method: "GET", path: "/open/7", host: "api", id: "7f3c", decision: nothing, status: 200 },
    ...{ flag: "-", details: "via_upstream", refused: null, requestBytes: 5, responseBytes: 70, durationUs: 3_500 },
    ...given,
  };
}

test("a request that went well", () => {
  assert.equal(
    requestLine(request(), at, "text"),
    "2026-08-20T10:00:00.123000Z\tinfo\taccess\trequest complete\t" +
      'src.addr=10.0.0.1:40000 src.workload="web" src.namespace="shop" src.identity="spiffe://cluster.local/ns/shop/sa/web" src.cluster="test" ' +
      'dst.addr=10.0.0.2:15008 dst.service="api.shop.svc.cluster.local" dst.workload="api" dst.namespace="shop" ' +
      'dst.identity="spiffe://cluster.local/ns/shop/sa/api" dst.cluster="test" direction="inbound" start_time="2026-08-20T10:00:00.119Z" ' +
      'method="GET" path="/open/7" authority="api" request_id="7f3c" response_code=200 response_flags="-" response_code_details="via_upstream" ' +
      'bytes_received=5 bytes_sent=70 duration="3ms" security="mtls" policy="shop/web[0]"\n',
  );
});

test("a call of gRPC names its status, and has a line of its own where it failed for the server's sake", () => {
  assert.match(
    requestLine(request({ grpcStatus: 0 }), at, "text"),
    / response_code=200 grpc_status=0 response_flags="-" /,
  );
  assert.match(requestLine(request({ grpcStatus: 14 }), at, "text"), /\terror\t.* grpc_status=14 /);
  assert.doesNotMatch(requestLine(request(), at, "text"), /grpc_status/);
  assert.deepEqual(
    [undefined, 0, 5, 13, 14, -1].map((grpcStatus) => isNotable(request({ grpcStatus }))),
    [false, false, false, true, true, false],
  );
});

test("a request that was routed names its rule, and is outbound; it is no line of its own where the far end judges", () => {
  const routed = request({ route: { name: "shop/api[2]", answer: null }, decision: null });
  assert.match(requestLine(routed, at, "text"), / direction="outbound" .* route_name="shop\/api\[2\]" /);
  assert.equal(isNotable(routed), false);
  const lost = request({ route: { name: "", answer: "no-route" }, decision: null, flag: "NR", status: 404 });
  assert.equal(isNotable(lost), true);
  assert.doesNotMatch(requestLine(lost, at, "text"), /route_name/);
});

test("a denial names policy, reason, rule and nearest miss; a refusal the rule of HTTP/1", () => {
  const denied: DecisionSummary = { ...nothing, verdict: "deny", reason: "no-allow-matched", nearestMiss: "wants GET" };
  const line = requestLine(request({ status: 403, decision: denied }), at, "text");
  assert.match(line, /\terror\taccess\trequest complete\t/);
  assert.match(
    line,
    / policy="shop\/web\[0\]" reason="no-allow-matched" rule="mesh.yaml:31" nearest_miss="wants GET"\n$/,
  );
  const refused = { message: "request", reason: "host-twice" } as const;
  const other = requestLine(request({ status: 400, flag: "DPE", refused, decision: null }), at, "json");
  assert.deepEqual([JSON.parse(other).refusal, JSON.parse(other).response_flags], ["host-twice", "DPE"]);
});

test("what AUDIT and dry-run policies say is in the line", () => {
  const decision = { ...nothing, audited: ["shop/watch[0]"], dryRunDenied: ["shop/trial[1]", "shop/trial[2]"] };
  const line = requestLine(request({ decision }), at, "text");
  assert.match(line, / dry_run_denied="shop\/trial\[1\],shop\/trial\[2\]" audited="shop\/watch\[0\]"\n$/);
});

test("lines of one connection have its ends as its record has them when each is written", () => {
  const connection = aRecord({ reporter: "destination" });
  const later = { ...connection, service: null, source: { ...connection.source, port: 7 } };
  for (const format of ["text", "json"] as const) {
    const line = (of: typeof connection): string => requestLine(request({ connection: of }), at, format);
    const first = line(connection);
    assert.equal(line(connection), first);
    assert.notEqual(line(later), first);
    assert.equal(line(later), requestLine(request({ connection: { ...later } }), at, format));
    assert.equal(line(connection), first);
  }
});

test("whatever a caller sends, a record stays one line of JSON", () => {
  const text = fc.string({ unit: "binary", maxLength: 600 });
  fc.assert(
    fc.property(text, text, text, text, (method, path, host, id) => {
      const line = requestLine(request({ method, path, host, id }), at, "json");
      assert.equal(line.indexOf("\n"), line.length - 1);
      assert.equal(JSON.parse(line).message, "request complete");
    }),
  );
});

test("a line for what somebody may have to look into", () => {
  const denied: DecisionSummary = { ...nothing, verdict: "deny", reason: "no-allow-matched" };
  for (const [given, isWanted] of [
    [{}, false],
    [{ status: 404 }, false],
    [{ status: 101 }, false],
    [{ status: 500 }, true],
    [{ status: 0, flag: "DC" }, true],
    [{ status: 403, decision: denied }, true],
    [{ status: 403 }, false],
    [{ durationUs: 1_000_000 }, false],
    [{ durationUs: 1_000_001 }, true],
    [{ decision: null, status: 408 }, true],
    [{ decision: { ...nothing, audited: ["shop/watch[0]"] } }, true],
    [{ decision: { ...nothing, dryRunDenied: ["shop/trial[0]"] } }, true],
  ] as const) {
    assert.equal(isNotable(request(given)), isWanted, JSON.stringify(given));
  }
});
