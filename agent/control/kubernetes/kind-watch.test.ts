// One kind of a server that answers in every way that servers, proxies and networks do: what is passed on is always all of what the
// server had at one time, never older than before; and once the server works, it is what the server has.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Dice } from "../../../test/policy/dice.ts";
import type { ObjectChange } from "../accepted-objects.ts";
import type { ApiAnswer, Ask } from "./api-answer.ts";
import { type KindState, KindWatch } from "./kind-watch.ts";
import type { WatchedKind } from "./watched-kinds.ts";

const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const kind: WatchedKind = {
  ...{ kind: "AuthorizationPolicy", apiVersion: "security.istio.io/v1", selector: "", isCustom: true },
  ...{ path: "/apis/security.istio.io/v1/authorizationpolicies", otherVersions: [] },
};

type Held = { readonly uid: string; readonly rv: number };
type Happening = {
  readonly rv: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly name: string;
  readonly uid: string;
};

const objectOf = (name: string, { uid, rv }: Held) => ({
  kind: kind.kind,
  metadata: { name, namespace: "shop", uid, resourceVersion: String(rv) },
});
const lineOf = (type: string, object: unknown): string => `${JSON.stringify({ type, object })}\n`;

/** What the server says, and when it fails. */
class ModelServer {
  readonly dice: Dice;
  readonly objects = new Map<string, Held>();
  readonly log: Happening[] = [];
  /** What there was, by version. */
  readonly states = new Map<number, string>();
  rv = 1;
  /** Versions before it are forgotten. */
  compacted = 0;
  streams = true;
  faulty = true;

  constructor(dice: Dice) {
    this.dice = dice;
    this.#remember();
  }

  happen(): void {
    const name = `p${this.dice.roll(12)}`;
    const before = this.objects.get(name);
    this.rv += 1;
    if (before === undefined) this.objects.set(name, { uid: `${name}-${this.rv}`, rv: this.rv });
    else if (this.dice.chance(50)) this.objects.set(name, { ...before, rv: this.rv });
    else this.objects.delete(name);
    const now = this.objects.get(name);
    const type = before === undefined ? "ADDED" : now === undefined ? "DELETED" : "MODIFIED";
    this.log.push({ rv: this.rv, type, name, uid: now?.uid ?? before?.uid ?? "" });
    this.#remember();
  }

  #remember(): void {
    this.states.set(this.rv, stateText(this.objects));
  }

  readonly ask: Ask = async (path, { signal }) => {
    signal.throwIfAborted();
    if (this.faulty && this.dice.chance(25)) return this.#strange();
    const query = new URL(path, "https://server").searchParams;
    if (query.get("watch") === null) return this.#list(query);
    if (query.get("sendInitialEvents") === null) return this.#answer(this.#watch(Number(query.get("resourceVersion"))));
    return this.streams ? this.#answer(this.#streamingList()) : answer(422, "{}");
  };

  #strange(): ApiAnswer {
    return this.dice.pick([
      () => answer(503, "{}", { retryAfterMs: 1_000 }),
      () => answer(429, "{}"),
      () => answer(401, "{}"),
      () => answer(403, '{"kind":"Status"}'),
      () => answer(200, "<html>log in first</html>", { contentType: "text/html" }),
      () => answer(200, "<html>log in first</html>"),
      () => answer(200, ""),
      () => answer(410, "{}"),
      () => answer(404, "404 page not found"),
      () => answer(200, '{"kind":"AuthorizationPolicyList","items":null}'),
      () => answer(200, lineOf("BOOKMARK", { metadata: {} })),
      (): ApiAnswer => {
        throw new Error("connection refused");
      },
    ])();
  }

  #list(query: URLSearchParams): ApiAnswer {
    const SIZE = 3;
    const continued = query.get("continue");
    const [rv = this.rv, from = 0] = continued?.split(".").map(Number) ?? [];
    // A list that was begun goes on from the version at which it was.
    if (continued !== null && (rv !== this.rv || rv < this.compacted)) return answer(410, "{}");
    const all = [...this.objects];
    const next = from + SIZE < all.length ? `${rv}.${from + SIZE}` : undefined;
    const items = all.slice(from, from + SIZE).map(([name, held]) => objectOf(name, held));
    const metadata = { resourceVersion: String(rv), ...(next === undefined ? {} : { continue: next }) };
    return this.#answer([JSON.stringify({ kind: `${kind.kind}List`, metadata, items })]);
  }

  *#streamingList(): Generator<string> {
    for (const [name, held] of [...this.objects]) yield lineOf("ADDED", objectOf(name, held));
    const rv = this.rv;
    const annotations = { "k8s.io/initial-events-end": "true" };
    yield lineOf("BOOKMARK", { kind: kind.kind, metadata: { resourceVersion: String(rv), annotations } });
    yield* this.#watch(rv);
  }

  *#watch(since: number): Generator<string> {
    if (since < this.compacted) {
      yield lineOf("ERROR", { kind: "Status", code: 410, message: "too old resource version" });
      return;
    }
    let seen = since;
    for (let turns = this.dice.roll(8); turns >= 0; turns--) {
      for (const { rv, type, name, uid } of this.log.filter((happening) => happening.rv > seen)) {
        yield lineOf(type, objectOf(name, { uid, rv }));
        seen = rv;
      }
      if (this.dice.chance(30))
        yield lineOf("BOOKMARK", { kind: kind.kind, metadata: { resourceVersion: String(seen) } });
      if (this.faulty) for (let news = this.dice.roll(4); news > 0; news--) this.happen();
    }
  }

  /** Cut into chunks anywhere, and cut off anywhere. */
  #answer(texts: Iterable<string>): ApiAnswer {
    const { dice } = this;
    const cutsOff = this.faulty && dice.chance(30);
    const corrupts = this.faulty && dice.chance(10);
    const body = async function* (): AsyncGenerator<Uint8Array> {
      for (const text of texts) {
        let bytes = new TextEncoder().encode(text);
        if (corrupts && dice.chance(20)) bytes = bytes.map((byte) => (dice.chance(2) ? 0x01 : byte));
        for (let at = 0; at < bytes.length; ) {
          const end = dice.chance(70) ? bytes.length : at + 1 + dice.roll(bytes.length);
          yield bytes.subarray(at, end);
          at = end;
          if (cutsOff && dice.chance(15)) {
            if (dice.chance(50)) throw new Error("reset by peer");
            return;
          }
        }
      }
    };
    return { status: 200, contentType: "application/json", retryAfterMs: null, body: body() };
  }
}

function answer(status: number, text: string, more: Partial<ApiAnswer> = {}): ApiAnswer {
  const body = (async function* () {
    if (text !== "") yield new TextEncoder().encode(text);
  })();
  return { status, contentType: "application/json", retryAfterMs: null, body, ...more };
}

function stateText(objects: ReadonlyMap<string, Held>): string {
  return [...objects]
    .map(([name, { uid, rv }]) => `${name}=${uid}@${rv}`)
    .sort()
    .join(" ");
}

/** Follows the server through `faults` turns with faults, then until it rests. */
async function follow(seed: number): Promise<{ readonly states: number; readonly away: number }> {
  const dice = new Dice(seed);
  const server = new ModelServer(dice);
  for (let at = dice.roll(20); at > 0; at--) server.happen();
  const passed = new Map<string, Held>();
  const ending = new AbortController();
  let at = 0;
  let states = 0;
  let away = 0;
  let sleeps = 0;
  const changed = (changes: readonly ObjectChange[]): void => {
    for (const change of changes) {
      if (change.op === "deleted") passed.delete(change.object.name);
      else passed.set(change.version.name, { uid: change.uid, rv: Number(change.version.resourceVersion) });
    }
    const now = stateText(passed);
    const found = [...server.states].find(([rv, state]) => rv >= at && state === now);
    assert.ok(found !== undefined, `seed ${seed}: what was passed on was never so after ${at}: ${now}`);
    at = found[0];
    states += 1;
  };
  const watch = new KindWatch(kind, {
    ask: server.ask,
    random: () => dice.roll(1_000) / 1_000,
    nowMs: () => sleeps * 1_000,
    changed,
    noted: ({ state }: KindState) => {
      if (state === "away") away += 1;
    },
    sleep: async () => {
      sleeps += 1;
      if (dice.chance(30)) server.compacted = server.rv - dice.roll(6);
      if (dice.chance(10)) server.streams = !server.streams;
      for (let news = dice.roll(3); news > 0 && server.faulty; news--) server.happen();
      if (sleeps === 60) server.faulty = false;
      if (sleeps > 100) ending.abort();
    },
  });
  await watch.run(ending.signal);
  assert.equal(stateText(passed), stateText(server.objects), `seed ${seed}: at rest`);
  return { states, away };
}

test(`what is passed on is one whole state of the server, and in the end its last (ORLOP_SEED=${SEED})`, async () => {
  let [states, away] = [0, 0];
  for (let round = 0; round < 100; round++) {
    const counted = await follow(SEED + round);
    states += counted.states;
    away += counted.away;
  }
  assert.ok(states > 1_000 && away > 1_000, `${states} states, ${away} failures: too tame`);
});

/** A server that gives these answers, one after the other; the last again and again. */
function scripted(...answers: readonly ((path: string) => ApiAnswer)[]) {
  const asked: string[] = [];
  const changes: ObjectChange[][] = [];
  const states: KindState[] = [];
  const ending = new AbortController();
  let at = 0;
  const watch = new KindWatch(kind, {
    ask: async (path) => {
      asked.push(path);
      const next = answers[at++];
      if (next === undefined) {
        ending.abort();
        throw new Error("no more answers");
      }
      return next(path);
    },
    sleep: async () => {},
    random: () => 0,
    nowMs: () => 0,
    changed: (some) => void changes.push([...some]),
    noted: (state) => void states.push(state),
  });
  return { run: () => watch.run(ending.signal), asked, changes, states, watch };
}

const listOf = (...names: readonly string[]) =>
  answer(
    200,
    JSON.stringify({
      kind: `${kind.kind}List`,
      metadata: { resourceVersion: "9" },
      items: names.map((name, at) => objectOf(name, { uid: name, rv: at + 1 })),
    }),
  );

test("403 is never empty, and what cannot be a list begins no watch", async () => {
  for (const refusal of [
    () => answer(403, "{}"),
    () => answer(200, "{}"),
    () => answer(200, '{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}'),
    () => answer(200, '{"kind":"AuthorizationPolicyList","metadata":{},"items":[]}'),
  ]) {
    const { run, changes, asked, watch } = scripted(() => answer(422, "{}"), refusal);
    await run();
    assert.deepEqual([changes, watch.mirror.synced], [[], false]);
    assert.ok(!asked.some((path) => path.includes("resourceVersion=")), asked.join());
  }
});

test("a page that fails is asked for from the beginning, and no watch begins from half a list", async () => {
  const first = () =>
    answer(200, `{"kind":"AuthorizationPolicyList","metadata":{"resourceVersion":"9","continue":"x"},"items":[]}`);
  const { run, changes, asked } = scripted(
    () => answer(422, "{}"),
    first,
    () => answer(503, "{}"),
    () => listOf("a", "b"),
  );
  await run();
  assert.deepEqual(
    changes.map((some) => some.length),
    [2],
  );
  assert.deepEqual(
    asked.slice(1, 4).map((path) => new URL(path, "https://x").searchParams.get("continue")),
    [null, "x", null],
  );
});

test("what the agent itself does wrong ends the source and is no outage", async () => {
  const defect = new Error("defect");
  const watch = new KindWatch(kind, {
    ask: async (path) => (path.includes("sendInitialEvents") ? answer(422, "{}") : listOf("a")),
    sleep: async () => {},
    random: () => 0,
    nowMs: () => 0,
    changed: () => {
      throw defect;
    },
    noted: () => {},
  });
  await assert.rejects(watch.run(new AbortController().signal), defect);
});
