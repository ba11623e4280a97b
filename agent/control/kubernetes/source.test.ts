// A cluster as a source: nothing before everything was read, and each later change alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inTime, untilByTurns, until as waitUntil } from "../../../test/support/until.ts";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import type { SourceStatus } from "../source.ts";
import type { ApiAnswer } from "./api-answer.ts";
import { KubernetesSource } from "./source.ts";
import { watchedKinds } from "./watched-kinds.ts";

const settings = {
  node: "west",
  cluster: "c1",
  network: "",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: false,
  runtimeClasses: [],
};

let versions = 0;
const metadataOf = (name: string, more: object = {}) => {
  versions += 1;
  return { name, namespace: "shop", uid: `uid-${name}`, resourceVersion: String(versions), ...more };
};
const pod = (name: string, ip: string, more: object = {}) => ({
  metadata: metadataOf(name, more),
  spec: { nodeName: "west", containers: [{ name: "app", image: "app:1" }] },
  status: { phase: "Running", podIPs: [{ ip }], conditions: [{ type: "Ready", status: "True" }] },
});
const namespace = {
  metadata: { ...metadataOf("shop"), namespace: undefined, labels: { "orlop.dev/dataplane-mode": "ambient" } },
};
const strict = { metadata: metadataOf("strict"), spec: { mtls: { mode: "STRICT" } } };

/** What API servers let through of fields that their schema does not know, and JSON.stringify cannot write. */
const deep = `${'{"a":'.repeat(9_000)}1${"}".repeat(9_000)}`;

/** A server whose watches stay open; each kind's list is answered when the test says so. */
function server() {
  const lists = new Map<string, PromiseWithResolvers<readonly object[] | number>>();
  const watches = new Map<string, (line: string) => void>();
  const kindOf = (path: string): string => {
    const found = watchedKinds.find((kind) => kind.path === path.split("?")[0]);
    return found?.kind ?? "";
  };
  for (const { kind } of watchedKinds) lists.set(kind, Promise.withResolvers());
  const ask = async (path: string, { signal }: { readonly signal: AbortSignal }): Promise<ApiAnswer> => {
    const kind = kindOf(path);
    if (path.endsWith("/kube-system"))
      return answer(200, [JSON.stringify({ kind: "Namespace", metadata: { name: "kube-system", uid: "c" } })]);
    if (path.includes("sendInitialEvents")) return answer(422, ["{}"]);
    if (path.includes("watch=true")) {
      const body = async function* (): AsyncGenerator<Uint8Array> {
        while (!signal.aborted) {
          const { promise, resolve } = Promise.withResolvers<string>();
          watches.set(kind, resolve);
          signal.addEventListener("abort", () => resolve(""), { once: true });
          yield new TextEncoder().encode(await promise);
        }
      };
      return { ...answer(200, []), body: body() };
    }
    const items = await Promise.race([lists.get(kind)?.promise, aborted(signal)]);
    if (typeof items === "number") return answer(items, ["{}"]);
    versions += 1;
    const metadata = { resourceVersion: String(versions) };
    return answer(200, [JSON.stringify({ kind: `${kind}List`, metadata, items: items ?? [] })]);
  };
  return {
    ask,
    list: (kind: string, items: readonly object[] | number) => lists.get(kind)?.resolve(items),
    event: async (kind: string, type: string, object: object) => {
      await untilByTurns(() => watches.has(kind), { what: `a watch of ${kind}` });
      watches.get(kind)?.(`${JSON.stringify({ type, object }).replaceAll('"DEEP"', deep)}\n`);
    },
  };
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true }));

function answer(status: number, texts: readonly string[]): ApiAnswer {
  const body = (async function* () {
    for (const text of texts) yield new TextEncoder().encode(text);
  })();
  return { status, contentType: "application/json", retryAfterMs: null, body };
}

function run({ ask }: Pick<ReturnType<typeof server>, "ask">) {
  const batches: (readonly MeshUpdate[])[] = [];
  const waiting = new Set<() => void>();
  const logged: string[] = [];
  const check = (): void => {
    for (const each of waiting) each();
  };
  const source = new KubernetesSource(
    { server: "https://api", settings },
    { ask, wallMs: () => 0, changed: check, log: (line) => logged.push(line) },
  );
  const ending = new AbortController();
  const running = source.run((updates) => void batches.push(updates), ending.signal);
  const until = (condition: (status: SourceStatus) => boolean): Promise<SourceStatus> => {
    const fulfilled = new Promise<SourceStatus>((resolve) => {
      const each = (): void => {
        if (!condition(source.status())) return;
        waiting.delete(each);
        resolve(source.status());
      };
      waiting.add(each);
      each();
    });
    return inTime(fulfilled, { what: String(condition), seen: () => ({ status: source.status(), logged }) });
  };
  const stop = async (): Promise<void> => {
    ending.abort();
    await running;
  };
  return { source, batches, until, logged, stop };
}

const named = (updates: readonly MeshUpdate[] | undefined): readonly string[] =>
  (updates ?? []).map((update) => (update.op === "remove" ? `-${update.key}` : `+${update.value.name}`));

test("nothing is in force before every kind was read, whichever comes last; then each change alone", {
  timeout: 120_000,
}, async () => {
  for (const last of watchedKinds) {
    const api = server();
    const { source, batches, until, stop } = run(api);
    const objects: Readonly<Record<string, readonly object[]>> = {
      Pod: [pod("web", "10.0.0.1"), pod("job", "10.0.0.2", { annotations: { x: "y" } })],
      Namespace: [namespace],
      PeerAuthentication: [strict],
    };
    for (const { kind } of watchedKinds) if (kind !== last.kind) api.list(kind, objects[kind] ?? []);
    for (let turns = 0; turns < 50; turns++) await new Promise(setImmediate);
    assert.deepEqual([source.status().state, batches], ["waiting", []]);
    api.list(last.kind, objects[last.kind] ?? []);
    const synced = await until(({ state }) => state === "synced");
    assert.deepEqual([synced.objects, named(batches[0]).toSorted()], [3, ["+job", "+strict", "+web"]]);

    await api.event("Pod", "MODIFIED", pod("web", "10.0.0.9"));
    await until(() => batches.length === 2);
    assert.deepEqual(named(batches[1]), ["+web"]);
    await api.event("PeerAuthentication", "DELETED", strict);
    await until(() => batches.length === 3);
    assert.deepEqual(named(batches[2]), ["-shop/strict"]);
    await stop();
  }
});

test("an object that is nested without end holds back no other of its kind, and counts as what can be read of it", {
  timeout: 120_000,
}, async () => {
  const api = server();
  const { batches, until, stop } = run(api);
  for (const { kind } of watchedKinds) api.list(kind, kind === "Namespace" ? [namespace] : []);
  await until(({ state }) => state === "synced");
  const policy = (name: string, more: object = {}) => ({
    metadata: metadataOf(name),
    spec: { action: "DENY", rules: [{}], ...more },
  });
  await api.event("AuthorizationPolicy", "ADDED", policy("endless", { newer: "DEEP" }));
  await until(() => batches.length === 2);
  await api.event("AuthorizationPolicy", "ADDED", policy("next"));
  await until(() => batches.length === 3);
  assert.deepEqual(batches.slice(1).map(named), [["+endless"], ["+next"]]);
  await stop();
});

test("a kind that is forbidden holds everything back, and the operator reads why", { timeout: 120_000 }, async () => {
  const api = server();
  const { source, batches, logged, stop } = run(api);
  for (const { kind } of watchedKinds) api.list(kind, kind === "AuthorizationPolicy" ? 403 : []);
  await waitUntil(() => logged.length > 0);
  assert.match(
    logged.join(),
    /AuthorizationPolicy: list of AuthorizationPolicy: .*HTTP status 403; what was read before/,
  );
  assert.deepEqual([source.status().state, batches], ["waiting", []]);
  await stop();
});
