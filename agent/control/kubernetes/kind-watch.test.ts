// One kind of a server that answers in every way that servers, proxies and networks do: what is passed on is always all of what the
// server had at one time, never older than before; and once the server works, it is what the server has.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import type { ObjectChange } from "../accepted-objects.ts";
import { type ApiAnswer, ServerLeaves, Silence } from "./api-answer.ts";
import { answer, FakeCluster, servedOf } from "./cluster.fake.ts";
import { type PackedChange, unpacked } from "./copy-file.ts";
import { type KindState, KindWatch } from "./kind-watch.ts";
import type { WatchedKind } from "./watched-kinds.ts";

const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const kind: WatchedKind = {
  ...{ kind: "AuthorizationPolicy", apiVersion: "security.istio.io/v1", selector: "", isCustom: true },
  ...{ path: "/apis/security.istio.io/v1/authorizationpolicies", otherVersions: [] },
};

const bodyOf = (): object => ({});
const objectOf = (name: string, held: { readonly uid: string; readonly rv: number }) =>
  servedOf(kind.kind, name, { ...held, body: {} });

function stateText(objects: ReadonlyMap<string, { readonly uid: string; readonly rv: number }>): string {
  return [...objects]
    .map(([name, { uid, rv }]) => `${name}=${uid}@${rv}`)
    .sort()
    .join(" ");
}

/** Follows the server through `faults` turns with faults, then until it rests. */
async function follow(seed: number): Promise<{ readonly states: number; readonly away: number }> {
  const dice = new Dice(seed);
  const server = new FakeCluster(dice, [kind], { bodyOf });
  for (let at = dice.roll(20); at > 0; at--) server.happen();
  const passed = new Map<string, { readonly uid: string; readonly rv: number }>();
  const ending = new AbortController();
  let at = 0;
  let states = 0;
  let away = 0;
  let sleeps = 0;
  const changed = (changes: readonly PackedChange[]): void => {
    for (const change of unpacked(changes)) {
      if (change.op === "deleted") passed.delete(change.object.name);
      else passed.set(change.version.name, { uid: change.uid, rv: Number(change.version.resourceVersion) });
    }
    const now = stateText(passed);
    const found = server.statesOf(kind.kind).find(({ rv, objects }) => rv >= at && stateText(objects) === now);
    assert.ok(found !== undefined, `seed ${seed}: what was passed on was never so after ${at}: ${now}`);
    at = found.rv;
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
  assert.equal(
    stateText(passed),
    stateText(server.statesOf(kind.kind).at(-1)?.objects ?? new Map()),
    `seed ${seed}: at rest`,
  );
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

/** Of the scripted servers; each test reads differences of it. */
let clockMs = 0;

/** A server that gives these answers, one after the other. */
function scripted(...answers: readonly ((path: string) => ApiAnswer)[]) {
  const asked: string[] = [];
  const changes: ObjectChange[][] = [];
  const states: KindState[] = [];
  const ending = new AbortController();
  let at = 0;
  const patience: number[] = [];
  const watch = new KindWatch(kind, {
    ask: async (path, { idleMs }) => {
      asked.push(path);
      patience.push(idleMs);
      const next = answers[at++];
      if (next === undefined) {
        ending.abort();
        throw new Error("no more answers");
      }
      return next(path);
    },
    sleep: async () => {},
    random: () => 0,
    nowMs: () => clockMs,
    changed: (some) => void changes.push([...unpacked(some)]),
    noted: (state) => void states.push(state),
  });
  return { run: () => watch.run(ending.signal), asked, patience, changes, states, watch };
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

/** A watch that says this much, and then nothing any more, while its connection lives. */
function quiet(text: string, end: () => Error | undefined = () => new Silence("nothing came"), ms = 90_000): ApiAnswer {
  const body = (async function* () {
    if (text !== "") yield new TextEncoder().encode(text);
    clockMs += ms;
    const error = end();
    if (error !== undefined) throw error;
  })();
  return answer(200, "", { body });
}

const line = (type: string, name: string, rv: number): string =>
  `${JSON.stringify({ type, object: objectOf(name, { uid: name, rv }) })}\n`;
const bookmark = (rv: number): string =>
  `${JSON.stringify({ type: "BOOKMARK", object: { kind: kind.kind, metadata: { resourceVersion: String(rv) } } })}\n`;
const versionsOf = (asked: readonly string[]): readonly (string | null)[] =>
  asked.map((path) => new URL(path, "https://x").searchParams.get("resourceVersion"));

test("a watch that says nothing for 90 s, or whose server leaves, is asked for anew from where it was, and is no outage", async () => {
  const added = line("ADDED", "b", 12);
  const { run, changes, states, asked, patience } = scripted(
    () => answer(422, "{}"),
    () => listOf("a"),
    () => quiet(""),
    () => quiet(added),
    () => quiet(added.slice(0, 20)),
    () => quiet(bookmark(13)),
    () => quiet("", () => new ServerLeaves("GOAWAY"), 20_000),
    () => quiet(""),
    () => quiet(bookmark(14)),
    () => quiet(""),
  );
  await run();
  assert.deepEqual(versionsOf(asked.slice(2)), ["9", "9", "12", "12", "13", "13", "13", "14", "14"]);
  assert.deepEqual(new Set(patience.slice(2)), new Set([90_000]));
  assert.deepEqual(
    changes.map((some) => some.length),
    [1, 1],
  );
  assert.deepEqual(
    states.map(({ state }) => state),
    [
      ...["listing", "watching", "watching", "watching", "away"],
      ...["watching", "watching", "watching", "watching", "watching"],
    ],
    "only half a line is a fault",
  );
});

test("watches that bring nothing, not even a bookmark, are an outage until one brings a line; meanwhile lists say what there is", async () => {
  const ends: readonly (() => Error | undefined)[] = [
    () => new Silence("nothing came"),
    () => new ServerLeaves("GOAWAY"),
    () => new Error("reset"),
    () => undefined,
  ];
  for (const end of ends) {
    const { run, changes, states, asked } = scripted(
      () => answer(422, "{}"),
      () => listOf("a"),
      () => quiet("", end),
      () => quiet("", end),
      () => listOf("a", "deny"),
      () => quiet("", end),
      () => quiet("", end),
      () => listOf("deny"),
      () => quiet(bookmark(12), end),
    );
    await run();
    assert.deepEqual(versionsOf(asked.slice(1, 9)), [null, "9", "9", null, "9", "9", null, "9"]);
    assert.ok(!asked.slice(1, 9).some((path) => path.includes("sendInitialEvents")));
    assert.deepEqual(
      changes.map((some) =>
        some.map(({ op, ...change }) => `${op} ${("version" in change ? change.version : change.object).name}`),
      ),
      [["present a"], ["present deny"], ["deleted a", "present deny"]],
    );
    const seen = states.map(({ state }) => state).filter((state) => state !== "listing");
    const back = seen.lastIndexOf("watching");
    const lost = seen.indexOf("away", 1);
    assert.ok(lost > 0 && back > lost, seen.join());
    assert.deepEqual(new Set(seen.slice(seen.lastIndexOf("watching", back - 1) + 1, back)), new Set(["away"]));
    assert.ok(states.some(({ why }) => /not even a bookmark/.test(why)) || end()?.message === "reset", seen.join());
  }
});

test("a streaming list of which nothing comes is read by pages", async () => {
  const { run, changes, asked, states } = scripted(
    () => quiet(""),
    () => quiet(""),
    () => listOf("a"),
    () => quiet(bookmark(12)),
  );
  await run();
  assert.deepEqual(
    asked.slice(0, 4).map((path) => [path.includes("sendInitialEvents"), path.includes("watch=true")]),
    [
      [true, true],
      [true, true],
      [false, false],
      [false, true],
    ],
  );
  assert.deepEqual(
    changes.map((some) => some.length),
    [1],
  );
  assert.equal(states.filter(({ state }) => state === "watching").length, 1);
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
