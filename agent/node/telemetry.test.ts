// The page of metrics as the agent composes it, and docs/metrics.md held to it and to the families that the rooms declare.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { counterNames, orlopGate } from "../abi.ts";
import type { KernelCounters } from "../kernel/events.ts";
import { kernelFamilies } from "../kernel/kernel-metrics.ts";
import { FakeMap } from "../kernel/maps.fake.ts";
import { Gate } from "../kernel/maps.ts";
import { PodMetrics } from "../kernel/pod-metrics.ts";
import { type MetricFamily, single, stabilityOf } from "../observe/metric.ts";
import { anOutcome, aRecord } from "../observe/record.fake.ts";
import { Recorder } from "../observe/recorder.ts";
import { trafficLabels } from "../observe/series.ts";
import { LimitCells } from "../policy/limit-cells.ts";
import { limit } from "../policy/policy.fake.ts";
import { LimitBuffers } from "../threads/limit-buffers.ts";
import { EjectionCells } from "../traffic/ejection-cells.ts";
import { AgentCounts } from "./agent-counts.ts";
import { Telemetry } from "./telemetry.ts";

const agentFolder = fileURLToPath(new URL("..", import.meta.url));
const counters = Object.fromEntries(counterNames.map((name, index) => [name, index])) as KernelCounters;
const noLines = { bytes: new Uint8Array(), lines: 0, dropped: 0 };

/** The last map has no entries to count. */
const maps = [
  { name: "pods", entries: 3, maxEntries: 6 },
  { name: "events", entries: -1, maxEntries: 8 },
];

function telemetry() {
  const pods = new PodMetrics(() => undefined);
  const map = new FakeMap({ name: "gate", keyBytes: 4, valueBytes: orlopGate.size });
  map.put(new Uint8Array(4), new Uint8Array(orlopGate.size));
  const gate = new Gate(map);
  gate.beat(process.hrtime.bigint());
  const counts = new AgentCounts({ dropped: 2, add: () => undefined });
  const made = new Telemetry({
    version: "1.2.3",
    counts,
    threads: {
      report: async () => [],
      ejections: new EjectionCells(EjectionCells.buffer()).counts,
      connectionOverflow: 3,
    },
    certificates: { view: () => [] },
    tables: { gate },
    keeper: {
      connected: true,
      programs: async () => ({ programs: [], maps, pods: [] }),
      nodeAccess: async () => ({
        mode: "kubelet",
        programs: [{ role: "kubelet", name: "kubelet", pid: 1, cgroup: "/a" }],
        problem: "",
      }),
    },
    enrollment: {
      states: () => [{ workloadUid: "a", podIdx: 1, state: "captured", note: "" }],
    },
    source: {
      status: () => ({
        ...{
          kind: "static-file",
          acceptance: "all",
          from: "mesh.yaml",
          state: "synced",
          fromLastGood: false,
          appliedAt: "",
          objects: 0,
        },
        ...{ problems: [], findings: [], leftOut: [], kinds: [] },
      }),
    },
    limits: limitsOfTest(),
    watch: {
      counters: () => counters,
      metrics: () => [...pods.metrics([]), single(kernelFamilies.endsLost, 0)],
    },
  });
  return { made, counts };
}

/** A limit of which a data thread has admitted a request, and refused two. */
function limitsOfTest(): LimitBuffers {
  const limits = new LimitBuffers(() => 1n);
  const value = limit("all", { requests: 1, burst: 1 });
  const [buffer] = limits.before([{ kind: "limit-policy", op: "upsert", value }]);
  if (buffer?.cells == null) throw new Error("a limit has no buckets");
  const cells = new LimitCells(buffer.cells);
  for (let nth = 0; nth < 3; nth += 1) cells.take(1n, { intervalNs: 1_000n, aheadNs: 0n }, 1n);
  return limits;
}

test("what the threads hand over, the kernel's counters and the node's state are on one page", async (t) => {
  const { made, counts } = telemetry();
  t.after(() => made.close());
  const recorder = new Recorder({ thread: 0, labelSets: 10, now: Date.now, log: () => undefined });
  recorder.opened(aRecord()).closed(anOutcome({ sentBytes: 5 }));
  recorder.opened(aRecord());
  counts.counted(0, recorder.takeDeltas(), { ...noLines, dropped: 3 });
  counts.peers.handshakeFailed("timeout");
  counts.peers.tunnelAbused("reset-flood");
  counts.certificateFailed();
  counts.podFound("first-process");
  assert.equal(counts.openConnections, 1);
  await made.refresh();
  const text = await made.page.text();
  for (const line of [
    /^istio_tcp_connections_opened_total\{reporter="source",source_workload="web",.*\} 2$/m,
    /^orlop_connection_overflow_total 3$/m,
    /^orlop_handshake_failures_total\{reason="timeout"\} 1$/m,
    /^orlop_tunnels_abused_total\{reason="reset-flood"\} 1$/m,
    /^orlop_certificate_failures_total 1$/m,
    /^orlop_pods\{state="captured"\} 1$/m,
    /^orlop_pods\{state="failed"\} 0$/m,
    /^orlop_pods_begun_total\{guarded="expected"\} 0$/m,
    /^orlop_pods_begun_total\{guarded="first-process"\} 1$/m,
    /^orlop_pods_begun_total\{guarded="late"\} 0$/m,
    /^orlop_keeper_connected 1$/m,
    /^orlop_node_access_programs\{role="kubelet"\} 1$/m,
    /^orlop_node_access_missing 0$/m,
    /^orlop_config_errors 0$/m,
    /^orlop_bpf_events_total\{counter="in_refused_strict"\} 18$/m,
    /^orlop_bpf_ring_dropped_total 22$/m,
    /^orlop_heartbeat_age_seconds 0\.\d+$/m,
    /^orlop_access_log_dropped_total 5$/m,
    /^orlop_limit_requests_total\{policy="shop\/all",mode="enforce",outcome="admitted"\} 1$/m,
    /^orlop_limit_requests_total\{policy="shop\/all",mode="enforce",outcome="over"\} 2$/m,
    /^orlop_bpf_map_fill_ratio\{map="pods"\} 0.5$/m,
  ]) {
    assert.match(text, line);
  }
});

const isFamily = (value: unknown): value is MetricFamily =>
  typeof value === "object" && value !== null && "name" in value && "labels" in value && "help" in value;

/** Every family that a room exports, by the convention that its name ends in Family or Families. */
async function declared(isIn: (file: string) => boolean = () => true): Promise<MetricFamily[]> {
  const files = readdirSync(agentFolder, { recursive: true, encoding: "utf8" }).filter(
    (file) =>
      /(?<!\.test|\.fake)\.ts$/.test(file) &&
      isIn(file) &&
      /^export const \w+Famil(?:y|ies) = /m.test(readFileSync(join(agentFolder, file), "utf8")),
  );
  const modules = await Promise.all(files.map((file) => import(pathToFileURL(join(agentFolder, file)).href)));
  return modules.flatMap((module: Record<string, unknown>) =>
    Object.entries(module).flatMap(([name, value]) =>
      /Famil(?:y|ies)$/.test(name) ? (isFamily(value) ? [value] : Object.values(value as object).filter(isFamily)) : [],
    ),
  );
}

test("the page shows every family that a room of the agent declares", async (t) => {
  const { made } = telemetry();
  t.after(() => made.close());
  const shown = [...(await made.page.text()).matchAll(/^# TYPE (\S+) (\w+)$/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  assert.deepEqual(
    shown.toSorted(),
    (await declared((file) => !file.startsWith("authority/"))).map(({ name, type }) => `${name} ${type}`).toSorted(),
  );
});

test("docs/metrics.md has a row for every family: type, unit, stability, labels and meaning; and no other", async () => {
  const text = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `[a-z0-9_]+` \| (?:counter|gauge|histogram) \|.*$/gm)].map(([row]) => row);
  const specified = (await declared()).map((family) => {
    const { name, type, unit, labels, help } = family;
    const hasTraffic = trafficLabels.every((label, index) => labels[index] === label);
    const own = labels.slice(hasTraffic ? trafficLabels.length : 0).map((label) => `\`${label}\``);
    const named = [...(hasTraffic ? ["traffic labels"] : []), ...own].join(", ") || "–";
    return `| \`${name}\` | ${type} | ${unit} | ${stabilityOf(family)} | ${named} | ${help} |`;
  });
  assert.deepEqual(rows.toSorted(), specified.toSorted());
});
