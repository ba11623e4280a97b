// The Lease between replicas against an API server of one Lease: never two holders, and a holder that dies is followed.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApiAnswer, Ask } from "../control/kubernetes/api-answer.ts";
import { Lease } from "./lease.ts";

type Json = Readonly<Record<string, unknown>>;

/** Time goes on when somebody sleeps: by steps of a second, for all. */
class LeaseServer {
  nowMs = 0;
  stored: { spec: Json; version: number } | undefined;
  /** By holder: it is not answered. */
  readonly cut = new Set<string>();
  readonly #sleepers: { untilMs: number; wake: () => void }[] = [];

  lease(holder: string, clockMs = 0): Lease {
    const ask: Ask = async (path, { signal, write }) => {
      signal.throwIfAborted();
      await Promise.resolve();
      if (this.cut.has(holder)) throw new Error("nobody answers");
      assert.match(path, /^\/apis\/coordination\.k8s\.io\/v1\/namespaces\/o\/leases(\/l)?$/);
      if (write === undefined) return this.stored === undefined ? answer(404, {}) : answer(200, this.#object());
      const { metadata, spec } = write.object as { metadata: { resourceVersion?: string }; spec: Json };
      assert.match(String(spec.renewTime), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
      const isFirst = write.method === "POST";
      if (isFirst ? this.stored !== undefined : metadata.resourceVersion !== String(this.stored?.version))
        return answer(409, {});
      this.stored = { spec, version: (this.stored?.version ?? 0) + 1 };
      return answer(isFirst ? 201 : 200, this.#object());
    };
    const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
      new Promise((resolve, reject) => {
        this.#sleepers.push({ untilMs: this.nowMs + ms, wake: resolve });
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    const noted = (): void => {};
    const ports = { ask, sleep, noted, nowMs: () => this.nowMs + clockMs, wallMs: () => this.nowMs };
    return new Lease({ namespace: "o", name: "l", holder }, ports);
  }

  #object(): Json {
    return { kind: "Lease", metadata: { resourceVersion: String(this.stored?.version) }, spec: this.stored?.spec };
  }

  async pass(seconds: number, each: () => void = () => {}): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      this.nowMs += 1_000;
      const due = this.#sleepers.filter(({ untilMs }) => untilMs <= this.nowMs);
      for (const sleeper of due) this.#sleepers.splice(this.#sleepers.indexOf(sleeper), 1);
      for (const { wake } of due) wake();
      await new Promise((resolve) => setImmediate(resolve));
      each();
    }
  }
}

function answer(status: number, object: Json): ApiAnswer {
  const body = (async function* () {
    yield new TextEncoder().encode(JSON.stringify(object));
  })();
  return { status, contentType: "application/json", retryAfterMs: null, body };
}

test("of three replicas one holds it; when it is cut off, or ends, another follows, and never two hold it", async () => {
  const server = new LeaseServer();
  const ends = ["a", "b", "c"].map(() => new AbortController());
  // Their clocks have nothing in common.
  const leases = ["a", "b", "c"].map((name, index) => server.lease(name, index * 1e6));
  const running = leases.map((lease, index) => lease.keep((ends[index] ?? assert.fail()).signal));
  const held = (): readonly number[] => leases.flatMap(({ isHeld }, index) => (isHeld ? [index] : []));
  let without = 0;
  const watch = (): void => {
    assert.ok(held().length <= 1, `held by ${held()}`);
    without = held().length === 0 ? without + 1 : 0;
  };
  await server.pass(60, watch);
  const [first = assert.fail("nobody holds it")] = held();
  assert.equal(server.stored?.spec.leaseTransitions, 0);
  server.cut.add("abc"[first] ?? "");
  await server.pass(60, watch);
  const [second = assert.fail("nobody follows")] = held();
  assert.notEqual(second, first);
  server.cut.clear();
  await server.pass(20, watch);
  assert.deepEqual(held(), [second], "who comes back does not take it");
  ends[second]?.abort();
  await server.pass(7, watch);
  assert.notEqual(held()[0], second);
  assert.equal(held().length, 1, "what was given up is taken at the next look");
  assert.equal(server.stored?.spec.leaseTransitions, 2);
  for (const end of ends) end.abort();
  await Promise.all(running);
});
