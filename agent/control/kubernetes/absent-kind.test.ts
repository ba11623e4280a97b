// A kind whose path the server does not know: when it is empty, and when what was read of it stays.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ObjectChange } from "../accepted-objects.ts";
import type { ApiAnswer } from "./api-answer.ts";
import { unpacked } from "./copy-file.ts";
import { type KindState, KindWatch } from "./kind-watch.ts";
import type { WatchedKind } from "./watched-kinds.ts";

const PLURAL = "authorizationpolicies";
const DEFINITION = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${PLURAL}.security.istio.io`;
const kind: WatchedKind = {
  ...{ kind: "AuthorizationPolicy", apiVersion: "security.istio.io/v1", selector: "", isCustom: true },
  ...{ path: `/apis/security.istio.io/v1/${PLURAL}`, otherVersions: ["security.istio.io/v1beta1"] },
};

function answer(status: number, body: unknown, contentType = "application/json"): ApiAnswer {
  const chunks = (async function* () {
    yield new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body));
  })();
  return { status, contentType, retryAfterMs: null, body: chunks };
}

const notFound = () => answer(404, "404 page not found\n", "text/plain");
const groups = (...versions: readonly string[]) => {
  const named = versions.map((version) => ({ groupVersion: `security.istio.io/${version}`, version }));
  return answer(200, {
    kind: "APIGroupList",
    groups: [
      { name: "apps", versions: [] },
      ...(named.length > 0 ? [{ name: "security.istio.io", versions: named }] : []),
    ],
  });
};
const resources = (...names: readonly string[]) =>
  answer(200, { kind: "APIResourceList", resources: names.map((name) => ({ name })) });
const objectOf = (name: string) => ({
  kind: kind.kind,
  metadata: { name, namespace: "shop", uid: name, resourceVersion: "1" },
});
const list = (...names: readonly string[]) =>
  answer(200, { kind: `${kind.kind}List`, metadata: { resourceVersion: "9" }, items: names.map(objectOf) });
const definitionGone = () =>
  answer(404, {
    ...{ kind: "Status", status: "Failure", reason: "NotFound" },
    details: { name: `${PLURAL}.security.istio.io`, kind: "customresourcedefinitions" },
  });

/** What a server answers at each path, without the query; other paths are unknown to it. */
type Paths = Readonly<Record<string, () => ApiAnswer>>;
const knowsNothing: Paths = { "/readyz": () => answer(200, "ok", "text/plain"), "/apis": () => groups() };

type Phase = { readonly paths: Paths; readonly waits: number };

/** Lets a kind be asked for as long as `phases` lasts: the server answers as each phase says for so many waits of 30 s. */
const follow = (...phases: readonly Phase[]) => followFor(() => 30_000, phases);

/** The same, where a wait of `ms` takes as long as `takes` says. */
async function followFor(takes: (ms: number) => number, phases: readonly Phase[]) {
  const ending = new AbortController();
  const changes: ObjectChange[][] = [];
  const states: KindState[] = [];
  const asked: string[] = [];
  let waited = 0;
  let nowMs = 0;
  const phase = (): Paths | undefined => {
    let left = waited;
    return phases.find(({ waits }) => {
      left -= waits;
      return left < 0;
    })?.paths;
  };
  const watch = new KindWatch(kind, {
    ask: async (path) => {
      asked.push(path);
      const [plain = ""] = path.split("?");
      if (path.includes("watch=true") && phase()?.[plain] !== undefined)
        return path.includes("sendInitialEvents") ? answer(422, "{}") : answer(410, "{}");
      return (phase()?.[plain] ?? notFound)();
    },
    sleep: async (ms) => {
      waited += 1;
      nowMs += takes(ms);
      if (phase() === undefined) ending.abort();
    },
    random: () => 0,
    nowMs: () => nowMs,
    changed: (some) => void changes.push([...unpacked(some)]),
    noted: (state) => void states.push(state),
  });
  await watch.run(ending.signal);
  const away = states.filter(({ state }) => state === "away").map(({ why }) => why);
  return { changes, away, asked, mirror: watch.mirror };
}

test("a kind that was never seen and that ready discovery does not name is empty", async () => {
  const { mirror, changes, away } = await follow({ paths: knowsNothing, waits: 2 });
  assert.deepEqual([mirror.synced, changes.flat(), away], [true, [], []]);
});

test("a kind that the cluster lacks is looked for every 5 s, by a single question where its absence was just looked into", async () => {
  const there = { ...knowsNothing, [kind.path]: () => list("a") };
  const { changes, asked } = await followFor(
    (ms) => ms,
    [
      { paths: knowsNothing, waits: 8 },
      { paths: there, waits: 1 },
    ],
  );
  assert.equal(asked.filter((path) => path === "/readyz").length, 2, "at the beginning and after 30 s");
  assert.equal(asked.filter((path) => path.includes("limit=1&") || path.endsWith("limit=1")).length, 7);
  assert.deepEqual(
    changes.flat().map(({ op }) => op),
    ["present"],
  );
});

test("what a server says before it is ready, and what is no discovery, does not make a kind empty", async () => {
  const cases: readonly Paths[] = [
    { ...knowsNothing, "/readyz": () => answer(500, "[-]poststarthook/crd-informer-synced failed", "text/plain") },
    { ...knowsNothing, "/readyz": () => answer(200, "<html>log in first</html>", "text/html") },
    { ...knowsNothing, "/apis": notFound },
    { ...knowsNothing, "/apis": () => answer(200, "<html>", "text/html") },
    { ...knowsNothing, "/apis": () => answer(403, "{}") },
    { ...knowsNothing, "/apis": () => answer(200, { kind: "APIGroupList" }) },
    { ...knowsNothing, "/apis": () => answer(200, { kind: "Status", groups: [] }) },
    // Its group is there, and nothing says what is in it.
    { ...knowsNothing, "/apis": () => groups("v1") },
    { ...knowsNothing, "/apis": () => groups("v1"), "/apis/security.istio.io/v1": () => resources(PLURAL) },
    { ...knowsNothing, "/apis": () => groups("v2"), "/apis/security.istio.io/v2": () => resources(PLURAL) },
  ];
  for (const paths of cases) {
    const { mirror, changes, away } = await follow({ paths, waits: 3 });
    assert.deepEqual([mirror.synced, changes, away.length > 0], [false, [], true], JSON.stringify(Object.keys(paths)));
  }
});

test("a group that has other kinds alone lacks this kind", async () => {
  const paths = {
    ...knowsNothing,
    "/apis": () => groups("v1"),
    "/apis/security.istio.io/v1": () => resources("others"),
  };
  assert.equal((await follow({ paths, waits: 2 })).mirror.synced, true);
});

test("an older version is read where the server has it alone", async () => {
  const older = `/apis/security.istio.io/v1beta1/${PLURAL}`;
  const paths = {
    ...knowsNothing,
    "/apis": () => groups("v1beta1"),
    "/apis/security.istio.io/v1beta1": () => resources(PLURAL),
    [older]: () => list("a"),
  };
  const { changes, mirror } = await follow({ paths, waits: 3 });
  assert.deepEqual([changes.flat().length, mirror.size], [1, 1]);
});

test("a kind that had objects keeps them until its definition is gone twice, a minute apart", async () => {
  const had = { paths: { ...knowsNothing, [kind.path]: () => list("a") }, waits: 1 };
  const gone = { ...knowsNothing, [DEFINITION]: definitionGone };
  const soon = await follow(had, { paths: gone, waits: 2 });
  assert.deepEqual([soon.changes.length, soon.mirror.size], [1, 1]);
  assert.match(soon.away.at(-1) ?? "", /definition of AuthorizationPolicy is gone, which is believed/);

  const later = await follow(had, { paths: gone, waits: 4 });
  assert.deepEqual([later.changes[1]?.map(({ op }) => op), later.mirror.size], [["deleted"], 0]);

  // In between it was there: the minute begins again.
  const there = { ...knowsNothing, [DEFINITION]: () => answer(200, { kind: "CustomResourceDefinition" }) };
  const back = await follow(had, { paths: gone, waits: 2 }, { paths: there, waits: 1 }, { paths: gone, waits: 2 });
  assert.equal(back.mirror.size, 1);

  for (const says of [
    () => answer(403, { kind: "Status", reason: "Forbidden" }),
    () => answer(404, "404 page not found", "text/plain"),
    () => answer(404, { kind: "Status", reason: "NotFound", details: { name: "others" } }),
    () => answer(503, "{}"),
  ]) {
    const unsure = await follow(had, { paths: { ...knowsNothing, [DEFINITION]: says }, waits: 10 });
    assert.equal(unsure.mirror.size, 1);
  }
});
