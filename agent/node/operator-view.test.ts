// operator-view.ts: what operators read of each part, and what they may change.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { CertificateView } from "../identity/certificates.ts";
import type { KernelCounters } from "../kernel/events.ts";
import { peerAuthentication, policy, ruleFor, workload } from "../mesh/mesh.fake.ts";
import { emptyOperation } from "../mesh/policies.ts";
import { MeshStore } from "../mesh/store.ts";
import { Log } from "../observe/log.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { LimitBuffers } from "../threads/limit-buffers.ts";
import { type OperatorViewParts, operatorView } from "./operator-view.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const settings = {
  ...{ node: "n1", cluster: "box", network: "", trustDomain: "cluster.local", rootNamespace: "istio-system" },
  ...{ clusterDomain: "cluster.local", honourIstioLabels: true, runtimeClasses: [] },
};
const issued: CertificateView = {
  ...{ spiffeId: web.identity.text, identity: 1, holders: 1, state: "available", serial: "0a" },
  ...{ notBefore: "2026-01-01T00:00:00Z", notAfter: "2026-01-02T00:00:00Z", renewInMs: 5_000, lastError: "" },
};
const pending: CertificateView = {
  ...{ ...issued, spiffeId: api.identity.text, state: "unavailable", serial: "" },
  ...{ notBefore: "", notAfter: "", renewInMs: 0 },
};

function view(given: Partial<OperatorViewParts> = {}) {
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  mesh.apply([
    { kind: "workload", op: "upsert", value: web },
    { kind: "workload", op: "upsert", value: api },
    { kind: "peer-authentication", op: "upsert", value: peerAuthentication("STRICT") },
  ]);
  return operatorView({
    limits: new LimitBuffers(() => 1n),
    config: { settings, dataThreads: 2 },
    version: "1.2.3",
    startedAtMs: 17,
    mesh,
    judge: judgeOf(mesh),
    source: {
      status: () => ({
        ...{
          kind: "static-file",
          acceptance: "all",
          from: "mesh.yaml",
          state: "synced",
          fromLastGood: false,
          appliedAt: "",
          objects: 3,
        },
        ...{ problems: [], findings: [], leftOut: [], kinds: [] },
      }),
    },
    keeper: {
      connected: true,
      trouble: "",
      programs: async () => ({ programs: [], maps: [], pods: [] }),
      nodeAccess: async () => ({ mode: "none", programs: [], problem: "" }),
    },
    threads: { report: async () => [] },
    rootsTrouble: () => "",
    enrollment: {
      states: () => [
        { workloadUid: web.uid, podIdx: 1, state: "captured", note: "" },
        { workloadUid: api.uid, podIdx: null, state: "failed", note: "no such cgroup" },
      ],
    },
    certificates: { view: () => [issued, pending, { ...pending, lastError: "no answer" }] },
    tables: { gate: null },
    watch: { counters: () => null, connections: () => [] },
    counts: { openConnections: 5, denied: 6 },
    readiness: { pending: ["pods"] },
    log: new Log({ level: "info", write: () => undefined, now: Date.now }),
    ...given,
  });
}

describe("the operator's view", () => {
  test("names the node, its mesh, what is open, denied and pending", () => {
    const source = view();
    assert.deepEqual([source.node, source.version, source.threads, source.startedAtMs], ["n1", "1.2.3", 2, 17]);
    assert.deepEqual(
      [...source.mesh.workloads()].map(({ name }) => name),
      ["web", "api"],
    );
    assert.equal(source.mode(web), "STRICT");
    assert.deepEqual([source.openConnections(), source.denied(), source.pending()], [5, 6, ["pods"]]);
    assert.equal(source.configuration().objects, 3);
    assert.equal(source.heartbeatAgeMs(), null);
  });

  test("a pod that could not be enrolled leaves a note", () => {
    assert.deepEqual(view().notes(), ["no such cgroup"]);
  });

  test("pods that are left out are a note, and are no pods that wait for their enrollment", () => {
    const leftOut = (["sidecar", "host-network", "sidecar"] as const).map((reason) => ({
      ...{ workload: api, reason, because: "" },
    }));
    const status = () => ({ ...view().configuration(), leftOut });
    const source = view({ source: { status }, enrollment: { states: () => [] } });
    assert.deepEqual(source.notes(), [
      "pods that their labels put into the mesh are left out of it (1 host-network, 2 sidecar): orlop get pods -o wide",
    ]);
  });

  test("a selector in the root namespace holds there alone, and status says so", () => {
    const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
    const inRoot = { name: "db", namespace: "istio-system" };
    const whole = peerAuthentication("STRICT", { ...inRoot, name: "mesh" });
    mesh.apply([
      { kind: "workload", op: "upsert", value: workload("db", { labels: { app: "db" } }) },
      { kind: "peer-authentication", op: "upsert", value: whole },
      {
        kind: "peer-authentication",
        op: "upsert",
        value: peerAuthentication("STRICT", { ...inRoot, selector: { app: "db" } }),
      },
    ]);
    assert.deepEqual(view({ mesh, enrollment: { states: () => [] } }).notes(), [
      "PeerAuthentication istio-system/db has a selector: it holds in istio-system alone, not in other namespaces",
    ]);
  });

  test("rules about requests are warned of where pods of the node are concerned, and say which ports are to be read", () => {
    const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
    const paths = [{ kind: "exact", value: "/admin" }] as const;
    const rules = [{ ...ruleFor([]), sources: [], operations: [{ ...emptyOperation, paths }] }];
    const here = { ...api, node: "n1" };
    mesh.apply([
      { kind: "workload", op: "upsert", value: here },
      { kind: "workload", op: "upsert", value: { ...web, node: "n2" } },
      { kind: "authorization-policy", op: "upsert", value: policy("DENY", rules) },
    ]);
    const source = view({ mesh, enrollment: { states: () => [] } });
    assert.deepEqual(
      source.requestWarnings().map(({ code, what }) => [code, what.replace(/.*nothing else/, "")]),
      [["ORL4109", " closes shop/api"]],
    );
    assert.deepEqual(
      source.requestChanges().map(({ what }) => what.replace(/.*requests/, "")),
      [" read at each port of shop/api"],
    );
    assert.deepEqual(
      source.portNeeds(here).map(({ port, reasons }) => [port, ...reasons.map(({ why }) => why)]),
      [[null, "deny-rule"]],
    );
  });

  test("a certificate is ready, pending before the first answer, or failed with the reason", () => {
    const states = view().certs();
    assert.deepEqual(
      states.map(({ state, message, serial }) => [state, message, serial]),
      [
        ["ready", "", "0a"],
        ["pending", "", ""],
        ["failed", "no answer", ""],
      ],
    );
    assert.deepEqual([states[0]?.notBeforeMs, states[1]?.notAfterMs], [Date.parse("2026-01-01T00:00:00Z"), null]);
  });

  test("without a keeper its programs are not asked for, and the view says why it is not there", async () => {
    const asked = async (): Promise<never> => assert.fail("asked");
    const source = view({
      keeper: { connected: false, trouble: "it closed the connection", programs: asked, nodeAccess: asked },
    });
    assert.equal((await source.nodeAccess()).problem, "no connection to the keeper");
    assert.deepEqual(await source.bpf(), { programs: [], maps: [], pods: [] });
    assert.deepEqual(source.keeper(), { connected: false, message: "it closed the connection" });
  });

  test("connections come from the threads and from the kernel, so many of each", async () => {
    const asked: number[] = [];
    const source = view({
      watch: {
        counters: () => ({}) as KernelCounters,
        connections: (limit) => {
          asked.push(limit);
          return [];
        },
      },
    });
    assert.deepEqual(await source.connections(7), []);
    assert.deepEqual([asked, source.counters()], [[7], {}]);
  });

  test("explain answers for workloads of the mesh, and says what it cannot find", async () => {
    const source = view();
    const answer = await source.explain("shop/web", "10.0.0.2:8080", {});
    assert.ok("steps" in answer, JSON.stringify(answer));
    assert.ok("error" in (await source.explain("shop/nothing", "10.0.0.2:8080", {})));
    const read = await source.explain("shop/web", "10.0.0.2:8080", { path: "/a", host: "api" });
    assert.partialDeepStrictEqual("steps" in read ? read.steps[0] : read, {
      id: "request",
      summary: "GET /a, host api",
    });
    assert.ok("unusable" in (await source.explain("shop/web", "10.0.0.2:8080", { method: "GET /" })));
  });

  test("a log level is set for a known room and a known level, and reverts", () => {
    const source = view();
    assert.equal(source.setLog({ room: "kitchen", level: "debug", forSeconds: null }), 'no log room "kitchen"');
    assert.equal(source.setLog({ room: "traffic", level: "loud", forSeconds: null }), 'no log level "loud"');
    assert.equal(source.setLog({ room: "traffic", level: "debug", forSeconds: 60 }), undefined);
    const changed = source.logLevels().find(({ room }) => room === "traffic");
    assert.equal(changed?.level, "debug");
    assert.equal(typeof changed?.until, "number");
    source.setLog({ room: "traffic", level: "info", forSeconds: null });
  });
});
