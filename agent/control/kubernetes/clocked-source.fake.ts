// tests · a source that follows a fake API server by a clock of its own: hours pass in milliseconds.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import { MeshStore } from "../../mesh/store.ts";
import type { SourceStatus } from "../source.ts";
import type { Ask } from "./api-answer.ts";
import { FakeCluster } from "./cluster.fake.ts";
import { KubernetesSource } from "./source.ts";
import { watchedKinds } from "./watched-kinds.ts";

const settings = {
  ...{ node: "west", cluster: "c1", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "istio-system", honourIstioLabels: false, runtimeClasses: [] },
};
export const pod = (host: number) => ({
  spec: { nodeName: "west" },
  status: { phase: "Running", podIPs: [{ ip: `10.0.0.${host}` }] },
});
export const deny = { spec: { action: "DENY", rules: [{}] } };

export function clusterOf(id = "one"): FakeCluster {
  const cluster = new FakeCluster(new Dice(1), watchedKinds, { id, bodyOf: () => ({}) });
  cluster.faulty = false;
  cluster.change("Namespace", "shop", {});
  cluster.change("Pod", "web", pod(1));
  cluster.change("AuthorizationPolicy", "callers", deny);
  return cluster;
}

export function fileOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-restart-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "cluster.jsonl");
}

/** An agent's source, the mesh that follows it, and its clock, which goes on when nothing else is left to do. */
export function start(t: TestContext, lastGoodFile: string | undefined, ask: Ask) {
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const waiting = new Set<() => void>();
  const logged: string[] = [];
  /** How long each wait was to be, ms. */
  const waits: number[] = [];
  let batches = 0;
  let sleptMs = 0;
  const timers = new Set<{ readonly dueMs: number; readonly resolve: () => void }>();
  const ending = new AbortController();
  const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      waits.push(ms);
      const timer = { dueMs: sleptMs + ms, resolve };
      timers.add(timer);
      const aborted = (): void => {
        timers.delete(timer);
        reject(signal.reason);
      };
      if (signal.aborted) aborted();
      signal.addEventListener("abort", aborted, { once: true });
    });
  const source = new KubernetesSource(
    { server: "https://api", settings, ...(lastGoodFile === undefined ? {} : { lastGoodFile }) },
    {
      ask,
      wallMs: () => 1_700_000_000_000 + sleptMs,
      nowMs: () => sleptMs,
      random: () => 0.5,
      sleep,
      log: (message) => logged.push(message),
      changed: () => {
        for (const check of waiting) check();
      },
    },
  );
  // Time goes on to the next wait that ends, once nothing else is left to do.
  const turning = (async () => {
    while (!ending.signal.aborted) {
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
      const [next] = [...timers].sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined) continue;
      timers.delete(next);
      sleptMs = next.dueMs;
      next.resolve();
    }
  })();
  let applied = (): void => {};
  const running = source.run((updates) => {
    batches += 1;
    mesh.apply(updates);
    applied();
  }, ending.signal);
  const onApplied = (call: () => void): void => {
    applied = call;
  };
  const stop = async (): Promise<void> => {
    ending.abort();
    await Promise.all([running, turning]);
  };
  t.after(stop);
  const until = (condition: (status: SourceStatus) => boolean): Promise<SourceStatus> =>
    new Promise((resolve) => {
      const check = (): void => {
        if (!condition(source.status())) return;
        waiting.delete(check);
        resolve(source.status());
      };
      waiting.add(check);
      check();
    });
  /** Resolves after the source has asked and slept often, without coming to anything else. */
  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 300; turn++) await new Promise(setImmediate);
  };
  const has = () => ({
    workloads: [...mesh.workloads()].map(({ name }) => name).sort(),
    policies: [...mesh.authorizationPolicies()].map(({ name }) => name).sort(),
  });
  return {
    source,
    until,
    turns,
    has,
    stop,
    logged,
    onApplied,
    batches: () => batches,
    sleep,
    waits,
    nowMs: () => sleptMs,
  };
}
