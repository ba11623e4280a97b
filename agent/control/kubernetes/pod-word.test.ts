// pod-word.ts against an API server whose pod and namespace change between its answers: the word is true of a state that was there.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import { DATAPLANE_MODE } from "../../mesh/names.ts";
import type { Ask } from "./api-answer.ts";
import { answer } from "./cluster.fake.ts";
import { wasOutside } from "./pod-word.ts";

const settings = {
  ...{ node: "n1", cluster: "Kubernetes", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "orlop-system", honourIstioLabels: false, runtimeClasses: [] },
};
const pod = { namespace: "shop", name: "web", podUid: "u1" };
const PATHS = ["/api/v1/namespaces/shop", "/api/v1/namespaces/shop/pods/web"];
const never = new AbortController().signal;

type Mode = "ambient" | "none" | "";
type World = {
  namespace: Mode;
  pod: Mode;
  uid: string;
  namespaceVersion: number;
  podVersion: number;
  sidecar: boolean;
};
const world = (of: Partial<World> = {}): World => ({
  ...{ namespace: "", pod: "", uid: "u1", namespaceVersion: 1, podVersion: 1, sidecar: false },
  ...of,
});
const labels = (mode: Mode): object => (mode === "" ? {} : { labels: { [DATAPLANE_MODE]: mode } });

function served(state: World, path: string): object {
  if (path === PATHS[0]) {
    const metadata = {
      name: "shop",
      uid: "n",
      resourceVersion: `${state.namespaceVersion}`,
      ...labels(state.namespace),
    };
    return { apiVersion: "v1", kind: "Namespace", metadata };
  }
  const annotations = state.sidecar ? { annotations: { "sidecar.istio.io/status": "{}" } } : {};
  const metadata = { name: "web", namespace: "shop", uid: state.uid, resourceVersion: `${state.podVersion}` };
  return {
    ...{ apiVersion: "v1", kind: "Pod", metadata: { ...metadata, ...annotations, ...labels(state.pod) } },
    ...{ spec: { nodeName: "n1" }, status: { phase: "Pending" } },
  };
}

const serving = (state: World): Ask => {
  return async (path) => answer(200, JSON.stringify(served(state, path)));
};
const isOutside = ({ namespace, pod: own, sidecar }: World): boolean =>
  sidecar || !(own === "ambient" || (own === "" && namespace === "ambient"));

describe("whether a pod that begins was outside", () => {
  test("what labels and namespace say, and a pod that is left out whatever they say", async () => {
    for (const namespace of ["ambient", "none", ""] as const)
      for (const own of ["ambient", "none", ""] as const)
        for (const sidecar of [false, true]) {
          const state = world({ namespace, pod: own, sidecar });
          assert.equal(await wasOutside(serving(state), settings, pod, never), isOutside(state), JSON.stringify(state));
        }
  });

  test("nobody knows it of a pod that is another by now, is absent, or of which a stranger speaks", async () => {
    const refuses = (ask: Ask): Promise<void> => assert.rejects(wasOutside(ask, settings, pod, never));
    await refuses(serving(world({ uid: "u2" })));
    await refuses(async (path) =>
      path === PATHS[0] ? serving(world())(path, { signal: never, idleMs: 1 }) : answer(404, "{}"),
    );
    await refuses(async () => answer(200, "<html>", { contentType: "text/html" }));
    await refuses(async () => answer(403, "{}"));
    await refuses(async () => answer(200, '{"kind":"Status"}'));
    await refuses(async () => {
      throw new Error("away");
    });
  });

  test("while both change between any two answers, it is said only of a pod that was outside at some moment since it was asked", async () => {
    const seed = Number(process.env.ORLOP_SEED ?? Date.now() % 2 ** 31);
    console.log(`ORLOP_SEED=${seed}`);
    const dice = new Dice(seed);
    const counts = { outside: 0, inside: 0, unknown: 0 };
    for (let round = 0; round < 4_000; round++) {
      const state = world({ namespace: dice.pick(["ambient", ""]), pod: dice.pick(["ambient", "none", ""]) });
      const states: World[] = [];
      const happen = (): void => {
        while (dice.chance(45)) {
          if (dice.chance(50)) {
            state.namespace = dice.pick(["ambient", "none", ""]);
            state.namespaceVersion += 1;
          } else {
            state.pod = dice.pick(["ambient", "none", ""]);
            state.podVersion += 1;
          }
          states.push({ ...state });
        }
      };
      happen();
      // What was before the question does not count.
      states.splice(0, states.length, { ...state });
      const ask: Ask = async (path) => {
        happen();
        const text = JSON.stringify(served(state, path));
        happen();
        return answer(200, text);
      };
      const said = await wasOutside(ask, settings, pod, never).catch(() => undefined);
      if (said === undefined) counts.unknown += 1;
      else {
        counts[said ? "outside" : "inside"] += 1;
        assert.ok(
          states.some((was) => isOutside(was) === said),
          `round ${round}: ${said} of ${JSON.stringify(states)}`,
        );
      }
    }
    assert.ok(counts.outside > 500 && counts.inside > 200, JSON.stringify(counts));
  });
});
