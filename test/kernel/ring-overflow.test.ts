// A ring of events that is far too small (root): records are lost and that is counted; the kernel's sums of connections and bytes
// stay exact, and no record of a connection that has ended stays open.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ORLOP_COUNT_EVENT_DROPPED, ORLOP_DIRECTION_IN, ORLOP_IN_PASS } from "../../agent/abi.ts";
import { KernelMap, RingBuffer } from "../../agent/engine/addon.ts";
import type { LentMaps } from "../../agent/engine/keeper-client.ts";
import { KernelWatch } from "../../agent/kernel/kernel-watch.ts";
import { workload } from "../../agent/mesh/mesh.fake.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import type { Metric } from "../../agent/observe/metric.ts";
import { RecordTotals } from "../../agent/observe/record-totals.ts";
import type { RecordDeltas } from "../../agent/observe/recorder.ts";
import { judgeOf } from "../../agent/policy/evaluate.ts";
import { HookBench, POD_IDX, POD4 } from "./hook-bench.ts";

const PORT = 8001;
const HELD = 10;
const SHORT = 600;

/** Reads each connection to its end, answers "app" and closes: the client's FIN is first, so that byte counts are exact. */
const application = `
import socket, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("${POD4}", ${PORT})); s.listen(512); s.settimeout(30)
def serve(c):
  while c.recv(99): pass
  c.send(b"app"); c.close()
for _ in range(${HELD + SHORT}):
  c, a = s.accept(); c.settimeout(30); threading.Thread(target=serve, args=(c,)).start()`;

/** Opens a few, waits until their events were surely read, and ends them in the middle of a burst. */
const clients = `
import socket, time
def opened():
  s = socket.create_connection(("${POD4}", ${PORT}), 10); s.send(b"hello"); return s
def ended(s):
  s.shutdown(socket.SHUT_WR); assert s.recv(9) == b"app"; s.recv(9); s.close()
held = [opened() for _ in range(${HELD})]
time.sleep(1)
for i in range(${SHORT}):
  if i % ${SHORT / HELD} == ${SHORT / HELD / 2}: ended(held.pop())
  ended(opened())`;

describe("a ring of events that overflows", { concurrency: 1 }, () => {
  const bench = new HookBench({ events: 4096 });
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const web = workload("web", { addresses: [POD4] });
  const totals = new RecordTotals(Date.now);
  const watch = new KernelWatch({
    mesh,
    judge: judgeOf(mesh),
    KernelMap,
    RingBuffer,
    workloadOf: (podIdx) => (podIdx === POD_IDX ? web : undefined),
    counted: (deltas: RecordDeltas) => totals.add(0, deltas),
    log: { debug() {}, info() {}, warn: (message) => assert.fail(message), error() {} },
    accessLog: false,
  });
  after(() => {
    watch.close();
    bench.remove();
  });
  before(async () => {
    await bench.enrol();
    bench.beat(0n);
    bench.said("in_by_port", PORT, ORLOP_IN_PASS);
    const fd = (name: keyof LentMaps): number => bench.map(name).fd;
    watch.opened({
      ...{
        dst_of_flow: fd("dst_of_flow"),
        in_by_port: fd("in_by_port"),
        out_by_dst: fd("out_by_dst"),
        gate: fd("gate"),
      },
      ...{ events: fd("events"), counters: fd("counters"), traffic: fd("traffic") },
      ...{ pair_verdict: fd("pair_verdict"), vip_backends: fd("vip_backends"), node_port: fd("node_port") },
    });
  });

  const sumOf = (metrics: readonly Metric[], name: string): number =>
    metrics
      .filter(({ family }) => family.name === name)
      .flatMap(({ samples }) => samples)
      .reduce((all, { value }) => all + (typeof value === "number" ? value : 0), 0);
  const sum = (name: string): number => sumOf(watch.metrics(), name);
  const recorded = (name: string): number => sumOf(totals.metrics(), name);

  test("every connection and byte is in the pod's sums, although most events were lost", async () => {
    const app = bench.inPod(application);
    await bench.listensInPod(PORT);
    await bench.outside(clients);
    await app;
    const all = HELD + SHORT;
    await bench.untilEnded(ORLOP_DIRECTION_IN, PORT, all);
    assert.ok(bench.count(ORLOP_COUNT_EVENT_DROPPED) > all / 2, String(bench.count(ORLOP_COUNT_EVENT_DROPPED)));
    assert.equal(sum("orlop_pod_connections_opened_total"), all);
    assert.equal(sum("orlop_pod_connections_closed_total"), all);
    assert.equal(sum("orlop_pod_received_bytes_total"), all * "hello".length);
    assert.equal(sum("orlop_pod_sent_bytes_total"), all * "app".length);
    assert.ok(sum("orlop_pod_round_trip_seconds_total") > 0);
    const [sample] = watch.metrics()[0]?.samples ?? [];
    assert.deepEqual(sample?.labels, {
      ...{ namespace: "shop", pod: "web", direction: "inbound", port: String(PORT), path: "direct" },
    });
  });

  test("records whose end was lost are ended, and counted", () => {
    watch.mend();
    watch.mend();
    watch.mend();
    assert.deepEqual(watch.connections(99), []);
    const lost = sum("orlop_records_without_end_total");
    assert.ok(lost > 0 && lost <= HELD + SHORT, String(lost));
    const opened = recorded("istio_tcp_connections_opened_total");
    assert.equal(opened, recorded("istio_tcp_connections_closed_total"));
    assert.ok(opened < HELD + SHORT, "most connections have no record");
  });
});
