// The writer of statuses against an API server of routes and Services: what is written, when, by whom, and what is tried again.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { ApiAnswer, Ask } from "../control/kubernetes/api-answer.ts";
import { followRouteStatuses } from "./route-statuses.ts";

type Json = Readonly<Record<string, unknown>>;
type Collection = "httproutes" | "grpcroutes" | "tlsroutes" | "tcproutes" | "services";
type Stored = { spec: Json; status: Json; version: number };

class RouteServer {
  readonly routes = new Map<string, Stored>();
  readonly patched: string[] = [];
  readonly logged: string[] = [];
  /** Status of the next answers to a write in place of what is so. */
  readonly faults: number[] = [];
  mayWrite = true;
  /** Before the next write another client changes the route. */
  meanwhile: (() => void) | undefined;
  #version = 1;
  readonly #lines: Record<Collection, string[]> = {
    httproutes: [],
    grpcroutes: [],
    tlsroutes: [],
    tcproutes: [],
    services: [],
  };

  route(name: string, spec: Json): void {
    const known = this.routes.get(name);
    this.routes.set(name, { spec, status: known?.status ?? {}, version: ++this.#version });
    this.#say("httproutes", known === undefined ? "ADDED" : "MODIFIED", this.#object(name));
  }

  service(name: string, type: "ADDED" | "DELETED" = "ADDED"): void {
    const metadata = { name, namespace: "shop", uid: name, resourceVersion: String(++this.#version) };
    this.#say("services", type, { kind: "Service", metadata, spec: { ports: [{ port: 80 }] } });
  }

  reasons(name: string): string {
    const { parents = [] } = (this.routes.get(name)?.status ?? {}) as {
      readonly parents?: readonly { readonly conditions: readonly { readonly reason: string }[] }[];
    };
    return parents.map(({ conditions }) => conditions.map(({ reason }) => reason).join("+")).join(" ");
  }

  readonly ask: Ask = async (path, { signal, write }) => {
    if (write === undefined) {
      const kind =
        (["httproutes", "grpcroutes", "tlsroutes", "tcproutes"] as const).find((each) => path.includes(`/${each}?`)) ??
        "services";
      const end = { "k8s.io/initial-events-end": "true" };
      const named = {
        httproutes: "HTTPRoute",
        grpcroutes: "GRPCRoute",
        tlsroutes: "TLSRoute",
        tcproutes: "TCPRoute",
        services: "Service",
      }[kind];
      this.#say(kind, "BOOKMARK", { kind: named, metadata: { resourceVersion: "1", annotations: end } });
      return { ...answer(200, {}), body: this.#body(kind, signal) };
    }
    const [, name = ""] =
      /^\/apis\/gateway\.networking\.k8s\.io\/v1\/namespaces\/shop\/httproutes\/(\w+)\/status$/.exec(path) ?? [];
    this.patched.push(`${write.method} ${name}`);
    const fault = this.faults.shift();
    if (fault !== undefined) return answer(fault, {});
    this.meanwhile?.();
    this.meanwhile = undefined;
    const known = this.routes.get(name) ?? assert.fail(path);
    const [expected, set] = write.object as readonly {
      readonly op: string;
      readonly path: string;
      readonly value: unknown;
    }[];
    assert.deepEqual(
      [expected?.op, expected?.path, set?.op, set?.path],
      ["test", "/metadata/resourceVersion", "add", "/status"],
    );
    if (expected?.value !== String(known.version))
      return answer(422, { message: "the server rejected our request due to an error in our request" });
    this.routes.set(name, { ...known, status: set?.value as Json, version: ++this.#version });
    this.#say("httproutes", "MODIFIED", this.#object(name));
    return answer(200, {});
  };

  #object(name: string): Json {
    const { spec, status, version } = this.routes.get(name) ?? assert.fail(name);
    const metadata = { name, namespace: "shop", uid: name, generation: 1, resourceVersion: String(version) };
    return { apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata, spec, status };
  }

  #say(kind: Collection, type: string, object: Json): void {
    this.#lines[kind].push(`${JSON.stringify({ type, object })}\n`);
  }

  async *#body(kind: Collection, signal: AbortSignal): AsyncIterable<Uint8Array> {
    for (; !signal.aborted; await turn())
      for (const line of this.#lines[kind].splice(0)) yield new TextEncoder().encode(line);
  }
}

function answer(status: number, object: Json): ApiAnswer {
  const body = (async function* () {
    yield new TextEncoder().encode(JSON.stringify(object));
  })();
  return { status, contentType: "application/json", retryAfterMs: null, body };
}

function start(t: TestContext): RouteServer {
  const server = new RouteServer();
  const ending = new AbortController();
  const log = (message: string): void => void server.logged.push(message);
  const following = followRouteStatuses(
    {
      ...{ ask: server.ask, nowMs: () => 0, wallMs: () => 0, random: () => 0.5, log: { info: log, warn: log } },
      ...{ sleep: async () => void (await turn()), mayWrite: () => server.mayWrite },
    },
    ending.signal,
  );
  t.after(async () => {
    ending.abort();
    await following;
  });
  return server;
}

const settled = async (): Promise<void> => {
  for (let at = 0; at < 100; at++) await turn();
};
const parentRefs = [{ group: "", kind: "Service", name: "api" }];
const rules = [{ backendRefs: [{ name: "far", port: 80 }] }];

test("a route's status follows its Services, and is written once for each change", async (t) => {
  const server = start(t);
  server.service("api");
  server.route("r", { parentRefs, rules });
  await settled();
  assert.equal(server.reasons("r"), "Accepted+BackendNotFound");
  server.service("far");
  await settled();
  assert.equal(server.reasons("r"), "Accepted+ResolvedRefs");
  server.service("other");
  await settled();
  assert.deepEqual(server.patched, ["PATCH r", "PATCH r"]);
  server.service("api", "DELETED");
  await settled();
  assert.equal(server.reasons("r"), "NoMatchingParent+ResolvedRefs");
});

test("who may not write writes nothing, and what came meanwhile is written when it may", async (t) => {
  const server = start(t);
  server.mayWrite = false;
  server.service("api");
  server.route("r", { parentRefs });
  await settled();
  assert.deepEqual(server.patched, []);
  server.mayWrite = true;
  await settled();
  assert.equal(server.reasons("r"), "Accepted+ResolvedRefs");
});

test("a failed write is tried again; over a version that was not read nothing is written", async (t) => {
  const server = start(t);
  server.faults.push(500, 403);
  server.service("api");
  server.route("r", { parentRefs });
  await settled();
  assert.equal(server.reasons("r"), "Accepted+ResolvedRefs");
  assert.deepEqual(server.patched, ["PATCH r", "PATCH r", "PATCH r"]);
  assert.equal(server.logged.filter((line) => line === "a status could not be written").length, 2);
  server.meanwhile = () => server.route("r", { parentRefs, rules });
  server.route("r", { parentRefs: [{ ...parentRefs[0], port: 81 }] });
  await settled();
  assert.equal(server.meanwhile, undefined);
  assert.equal(server.reasons("r"), "Accepted+BackendNotFound");
});

test("a route of gateways alone is left to them", async (t) => {
  const server = start(t);
  server.route("r", { parentRefs: [{ name: "gate" }] });
  await settled();
  assert.deepEqual(server.patched, []);
});
