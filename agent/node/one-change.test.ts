// The work that one change of the files asks for, counted through all that follows the mesh: the same among ten workloads and thousands.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { serialize } from "node:v8";
import { untilByTurns } from "../../test/support/until.ts";
import { orlopBackends, orlopGate, orlopInKey, orlopOutKey, orlopPairKey, orlopVipKey } from "../abi.ts";
import { readingFile } from "../control/static-file/mesh-file.ts";
import { StaticFileSource } from "../control/static-file/source.ts";
import { FakeMap } from "../kernel/maps.fake.ts";
import { PairTables } from "../kernel/pair-tables.ts";
import { KernelTables } from "../kernel/plaintext-tables.ts";
import { MeshStore } from "../mesh/store.ts";
import { Lean } from "../mesh/thread-view.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { ThreadOutbox } from "../threads/thread-outbox.ts";

const settings = {
  ...{ node: "n1", cluster: "c1", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "istio-system", honourIstioLabels: false, runtimeClasses: [] },
};
const PER_FILE = 10;
const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

const pod = (name: string, ip: string, healthy: boolean): string => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${name}, namespace: bench, uid: uid-${name}, labels: {app: ${name}}}
spec: {addresses: ["${ip}"], node: n1, serviceAccount: ${name}, healthy: ${healthy}}
`;
const base = `apiVersion: v1
kind: Namespace
metadata: {name: bench, labels: {orlop.dev/dataplane-mode: ambient}}
---
${pod("client", "10.0.0.1", true)}---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: bench}
spec: {clusterIP: "10.96.0.1", selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
`;
const policy = (account: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: bench}
spec: {action: ALLOW, rules: [{from: [{source: {principals: ["cluster.local/ns/bench/sa/${account}"]}}]}]}
`;
const absent = (nth: number): string => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: pod-${nth}, namespace: ns-${nth % 100}, labels: {app: app-${Math.floor(nth / PER_FILE)}}}
spec: {addresses: ["11.0.${nth >> 8}.${nth & 255}"], node: far-${nth % 50}, serviceAccount: app-${nth % 100}}
`;

type Work = Record<"batches" | "updates" | "messages" | "messageBytes" | "judged" | "rows" | "severed", number>;

async function follow(t: TestContext, workloads: number) {
  const folder = mkdtempSync(join(tmpdir(), "orlop-change-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "mesh");
  mkdirSync(path);
  const write = (name: string, text: string): void => {
    writeFileSync(join(path, `${name}.draft`), text);
    renameSync(join(path, `${name}.draft`), join(path, name));
  };
  for (let file = 0; file * PER_FILE < workloads; file++) {
    const some = Array.from({ length: PER_FILE }, (_, at) => absent(file * PER_FILE + at));
    write(`some-${file}.yaml`, some.join("---\n"));
  }
  const setHealthy = (healthy: boolean): void => write("server.yaml", pod("server", "10.0.0.2", healthy));
  const setAllowed = (allowed: boolean): void => write("policy.yaml", policy(allowed ? "client" : "server"));
  write("base.yaml", base);
  setHealthy(true);
  setAllowed(true);

  const work: Work = { batches: 0, updates: 0, messages: 0, messageBytes: 0, judged: 0, rows: 0, severed: 0 };
  class Counted extends FakeMap {
    override put(key: Uint8Array, value: Uint8Array): void {
      work.rows += 1;
      super.put(key, value);
    }
    override delete(key: Uint8Array): boolean {
      work.rows += 1;
      return super.delete(key);
    }
  }
  const sizes = {
    in_by_port: [orlopInKey.size, 4],
    out_by_dst: [orlopOutKey.size, 4],
    gate: [4, orlopGate.size],
    node_port: [orlopInKey.size, 4],
    pair_verdict: [orlopPairKey.size, 4],
    vip_backends: [orlopVipKey.size, orlopBackends.size],
  } as const;
  const names = ["dst_of_flow", "events", "counters", "traffic", ...Object.keys(sizes)];
  const maps = Object.entries(sizes).map(
    ([name, [keyBytes, valueBytes]]) => new Counted({ name, keyBytes, valueBytes, maxEntries: 100_000 }),
  );
  for (const map of maps) if (map.name === "gate") map.put(new Uint8Array(4), new Uint8Array(orlopGate.size));
  class Lent {
    constructor(fd: number) {
      // biome-ignore lint/correctness/noConstructorReturn: the double of a class that is looked up by descriptor.
      return maps[fd - 4] ?? assert.fail(`map ${fd}`);
    }
  }
  const lent = Object.fromEntries(names.map((name, fd) => [name, fd])) as Parameters<KernelTables["opened"]>[0];
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const evaluate = judgeOf(mesh);
  const judge: typeof evaluate = (...facts) => {
    work.judged += 1;
    return evaluate(...facts);
  };
  const sever = async (): Promise<void> => {
    work.severed += 1;
  };
  const NativeMap = Lent as unknown as new (fd: number) => FakeMap;
  const tables = new KernelTables({ mesh, judge, NativeMap, log });
  const pairs = new PairTables({ mesh, judge, NativeMap, sever, log });
  tables.opened(lent);
  pairs.opened(lent);
  const outbox = new ThreadOutbox((message) => {
    work.messages += 1;
    work.messageBytes += serialize(message).length;
    if (message.op === "updates" && message.more) queueMicrotask(() => outbox.taken());
  });
  const lastGoodFile = join(folder, "last-good.json");
  const options = { path, lastGoodFile, settings, debounceMs: 5, pollMs: 3_600_000 };
  const source = new StaticFileSource(options, { wallMs: Date.now });
  await source.hold();
  let heard = (): void => undefined;
  const abort = new AbortController();
  const running = source.run((updates) => {
    work.batches += 1;
    work.updates += updates.length;
    const change = mesh.apply(updates);
    outbox.send({ op: "updates", updates, more: false });
    const pods = ["client", "server"].flatMap((name, at) => {
      const workload = mesh.workloadAt(`10.0.0.${at + 1}`);
      return workload === undefined ? [] : [{ podIdx: at + 1, workload, name }];
    });
    pairs.changed(change, pods);
    tables.setDestinations(change);
    for (const { podIdx, workload } of pods) tables.setPod(podIdx, workload);
    heard();
  }, abort.signal);
  t.after(async () => {
    abort.abort();
    await running;
  });
  const next = (): Promise<void> => new Promise((resolve) => (heard = resolve));
  if (work.batches === 0) await next();
  // The first mesh goes to a thread in parts.
  const isSent = (): boolean => work.messages >= Math.max(1, Math.ceil(work.updates / 1_000));
  await untilByTurns(isSent, { what: "the mesh is sent", seen: () => work });
  assert.equal([...mesh.workloads()].length, workloads + 2);
  return {
    setHealthy,
    setAllowed,
    async workOf(change: () => void): Promise<Work> {
      const before = { ...work };
      const done = next();
      change();
      await done;
      await new Promise((resolve) => setImmediate(resolve));
      const counted = Object.entries(work).map(([what, count]) => [what, count - before[what as keyof Work]]);
      return Object.fromEntries(counted) as Work;
    },
  };
}

test("an endpoint that falls ill and a policy that forbids ask for the same work among ten workloads and 10,000", async (t) => {
  const seen: Work[][] = [];
  for (const workloads of [10, 10_000]) {
    const { setHealthy, setAllowed, workOf } = await follow(t, workloads);
    seen.push([
      await workOf(() => setHealthy(false)),
      await workOf(() => setHealthy(true)),
      await workOf(() => setAllowed(false)),
      await workOf(() => setAllowed(true)),
    ]);
  }
  const [few = [], many] = seen;
  t.diagnostic(few.map((work) => JSON.stringify(work)).join("\n"));
  assert.deepEqual(many, few);
  for (const { batches, updates, messages } of few) assert.deepEqual([batches, updates, messages], [1, 1, 1]);
  const [ill, , forbidden] = few;
  assert.ok((ill?.messageBytes ?? 0) > 0);
  assert.ok(
    (forbidden?.judged ?? 0) > 0 && (forbidden?.rows ?? 0) > 0,
    "a policy is judged, and its verdict is written",
  );
});

test("of a file only the document that changed is read, however many others it has", () => {
  const read = { settings, lean: new Lean() };
  for (const others of [1, 1_000]) {
    const textOf = (healthy: boolean): string =>
      [...Array.from({ length: others }, (_, nth) => absent(nth)), pod("server", "10.0.0.2", healthy)].join("---\n");
    const stepsOf = (text: string, before?: Parameters<typeof readingFile>[1]) => {
      const reading = readingFile({ file: "mesh.yaml", text, stamp: "", bytes: text.length }, before, read);
      for (let steps = 0; ; steps += 1) {
        const { done, value } = reading.next();
        if (done === true) return { steps, file: value };
      }
    };
    const first = stepsOf(textOf(true));
    assert.equal(first.steps, others + 1);
    const second = stepsOf(textOf(false), first.file);
    assert.equal(second.steps, 1);
    assert.equal(second.file.documents.objects.length, others + 1);
  }
});
