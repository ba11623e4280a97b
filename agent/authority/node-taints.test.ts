// node-taints.ts against an API server of nodes and pods: which taint goes, when, and what is left alone.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { untilByTurns as until } from "../../test/support/until.ts";
import type { ApiAnswer, Ask } from "../control/kubernetes/api-answer.ts";
import { followNodeTaints, NODE_TAINT } from "./node-taints.ts";

type Taint = { readonly key: string; readonly effect: string; readonly value?: string };
const ours: Taint = { key: NODE_TAINT, effect: "NoSchedule" };
const other: Taint = { key: "example.com/gpu", effect: "NoSchedule", value: "a" };

class FakeNodes {
  readonly taints = new Map<string, readonly Taint[]>();
  readonly asked: string[] = [];
  readonly logged: string[] = [];
  /** Status of the next answers about nodes in place of what is so. */
  readonly faults: number[] = [];
  /** Before the next PATCH another client changes the node. */
  meanwhile: (() => void) | undefined;
  #version = 1;
  #lines: string[] = [];
  #more = Promise.withResolvers<void>();

  say(
    type: "ADDED" | "MODIFIED" | "DELETED",
    app: string,
    node: string,
    isReady: boolean,
    uid = `${app}-${node}`,
  ): void {
    const metadata = {
      name: `${app}-${node}`,
      namespace: "o",
      uid,
      resourceVersion: String(++this.#version),
      labels: { app },
    };
    const conditions = [{ type: "Ready", status: isReady ? "True" : "False" }];
    this.#push({ type, object: { kind: "Pod", metadata, spec: { nodeName: node }, status: { conditions } } });
  }

  readonly ask: Ask = async (path, { signal, write }) => {
    if (!path.startsWith("/api/v1/nodes/")) {
      assert.match(path, /^\/api\/v1\/namespaces\/o\/pods\?.*labelSelector=app%20in%20%28orlop-agent%2Corlop-cni%29/);
      const end = { "k8s.io/initial-events-end": "true" };
      this.#push({ type: "BOOKMARK", object: { kind: "Pod", metadata: { resourceVersion: "1", annotations: end } } });
      return { ...answer(200, ""), body: this.#body(signal) };
    }
    const name = path.slice("/api/v1/nodes/".length);
    this.asked.push(`${write?.method ?? "GET"} ${name}`);
    const fault = this.faults.shift();
    if (fault !== undefined) return answer(fault, "{}");
    if (write !== undefined) {
      this.meanwhile?.();
      this.meanwhile = undefined;
      const [expected, removal] = write.object as readonly { op: string; path: string; value?: unknown }[];
      const at = Number(expected?.path.split("/").at(-1));
      assert.deepEqual([expected?.op, removal], ["test", { op: "remove", path: expected?.path }]);
      const taints = this.taints.get(name) ?? [];
      if (JSON.stringify(taints[at]) !== JSON.stringify(expected?.value)) return answer(422, "{}");
      this.taints.set(name, taints.toSpliced(at, 1));
    }
    return answer(200, JSON.stringify({ kind: "Node", metadata: { name }, spec: { taints: this.taints.get(name) } }));
  };

  #push(event: object): void {
    this.#lines.push(`${JSON.stringify(event)}\n`);
    this.#more.resolve();
  }

  async *#body(signal: AbortSignal): AsyncIterable<Uint8Array> {
    signal.addEventListener("abort", () => this.#more.resolve(), { once: true });
    while (!signal.aborted) {
      for (const line of this.#lines.splice(0)) yield new TextEncoder().encode(line);
      await this.#more.promise;
      this.#more = Promise.withResolvers();
    }
  }
}

function answer(status: number, text: string): ApiAnswer {
  const body = (async function* () {
    if (text !== "") yield new TextEncoder().encode(text);
  })();
  return { status, contentType: "application/json", retryAfterMs: null, body };
}

function start(t: TestContext): FakeNodes {
  const nodes = new FakeNodes();
  const ending = new AbortController();
  const say = (message: string): void => void nodes.logged.push(message);
  const ports = { ask: nodes.ask, nowMs: () => 0, random: () => 0.5, log: { info: say, warn: say } };
  const following = followNodeTaints("o", { ...ports, sleep: async () => void (await turn()) }, ending.signal);
  t.after(async () => {
    ending.abort();
    await following;
  });
  return nodes;
}

const settled = async (): Promise<void> => {
  for (let at = 0; at < 50; at++) await turn();
};

test("the taint goes when agent and installer of the node are ready, and no other taint or node is touched", async (t) => {
  const nodes = start(t);
  for (const name of ["a", "b"]) nodes.taints.set(name, [other, ours]);
  nodes.say("ADDED", "orlop-agent", "a", true);
  nodes.say("ADDED", "orlop-cni", "a", false);
  nodes.say("ADDED", "orlop-cni", "b", true);
  await settled();
  assert.deepEqual(nodes.asked, []);
  nodes.say("MODIFIED", "orlop-cni", "a", true);
  await until(() => nodes.taints.get("a")?.length === 1);
  await settled();
  assert.deepEqual([nodes.taints.get("a"), nodes.taints.get("b")], [[other], [other, ours]]);
  assert.deepEqual(new Set(nodes.asked), new Set(["GET a", "PATCH a"]));
  assert.deepEqual(nodes.logged, ["taint taken off"]);
});

test("it is looked at once for the same pods, and again for those of another node of that name", async (t) => {
  const nodes = start(t);
  for (const app of ["orlop-agent", "orlop-cni"]) nodes.say("ADDED", app, "a", true);
  await until(() => nodes.asked.length === 1);
  nodes.say("MODIFIED", "orlop-agent", "a", false);
  nodes.say("MODIFIED", "orlop-agent", "a", true);
  await settled();
  assert.deepEqual(nodes.asked, ["GET a"]);
  nodes.say("DELETED", "orlop-agent", "a", true);
  nodes.taints.set("a", [ours, { ...ours, effect: "NoExecute" }]);
  nodes.say("ADDED", "orlop-agent", "a", true, "another");
  await until(() => nodes.taints.get("a")?.length === 0);
});

test("a taint whose place has changed meanwhile is looked for again, and a server that refuses is asked again", async (t) => {
  const nodes = start(t);
  nodes.taints.set("a", [ours]);
  nodes.faults.push(500, 403);
  nodes.meanwhile = () => nodes.taints.set("a", [other, ours]);
  for (const app of ["orlop-agent", "orlop-cni"]) nodes.say("ADDED", app, "a", true);
  await until(() => nodes.taints.get("a")?.some(({ key }) => key === NODE_TAINT) === false);
  assert.deepEqual(nodes.taints.get("a"), [other]);
  assert.ok(nodes.logged.includes("a taint could not be taken off"));
});
