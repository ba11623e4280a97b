// enrollment-plan.ts: desired and present pods → the steps that may be carried out now.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Workload } from "../mesh/workload.ts";
import { workload } from "../traffic/mesh.fake.ts";
import { desiredPods, type EnrollmentStep, type HeldPod, nextSteps, type PresentPods } from "./enrollment-plan.ts";

const web = workload("web", { addresses: ["10.0.0.1", "fd00::1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const heldWeb: HeldPod = {
  state: "captured",
  podIdx: 3,
  podUid: "uid-web",
  workloadUid: web.uid,
  addresses: ["fd00::1", "10.0.0.1"],
  identity: web.identity,
  failDirect: false,
};

function plan(
  workloads: readonly Workload[],
  present: Partial<PresentPods> = {},
  failDirect = false,
): readonly EnrollmentStep[] {
  const all: PresentPods = { held: [], found: new Map(), resting: new Set(), ...present };
  return nextSteps(desiredPods(workloads, "n1"), all, () => failDirect);
}

describe("desired pods", () => {
  test("this node's pods that speak HBONE, have a pod UID and an address", () => {
    const others = [
      workload("far", { node: "n2" }),
      workload("out", { protocol: "none" }),
      workload("unknown", { podUid: "" }),
      workload("early", { addresses: [] }),
    ];
    const { pods, conflicts } = desiredPods([web, api, ...others], "n1");
    assert.deepEqual([[...pods.keys()].toSorted(), conflicts], [["uid-api", "uid-web"], []]);
  });

  test("a pod that two workloads name goes to the first by uid, and the other is reported", () => {
    const thief = { ...api, podUid: "uid-web" };
    const { pods, conflicts } = desiredPods([web, thief], "n1");
    assert.deepEqual([[...pods.values()], conflicts], [[thief], [web]]);
  });
});

describe("the next steps", () => {
  test("none when the present is as desired, in whatever order the addresses are", () => {
    assert.deepEqual(plan([web], { held: [heldWeb] }), []);
  });

  test("missing pods are enrolled, each in a plan of its own; those that rest wait", () => {
    assert.deepEqual(plan([web, api]), [{ op: "enroll", workload: api }]);
    assert.deepEqual(plan([web, api], { resting: new Set(["uid-api"]) }), [{ op: "enroll", workload: web }]);
    assert.deepEqual(plan([api], { resting: new Set(["uid-api"]) }), []);
  });

  test("a pod that left the mesh, the node or the world is released", () => {
    for (const workloads of [[], [{ ...web, protocol: "none" as const }], [{ ...web, node: "n2" }]]) {
      assert.deepEqual(plan(workloads, { held: [heldWeb] }), [{ op: "release", pod: heldWeb }]);
    }
  });

  test("other addresses, or another pod under the name: released before anything is enrolled", () => {
    for (const now of [
      { ...web, addresses: ["10.0.0.7"] },
      { ...web, podUid: "uid-web-2" },
    ]) {
      assert.deepEqual(plan([now, api], { held: [heldWeb] }), [{ op: "release", pod: heldWeb }]);
    }
  });

  test("pods of an earlier agent: those that the mesh names are enrolled, the others released, all at once", () => {
    const found = new Map([
      ["uid-web", 3],
      ["uid-old", 4],
      ["uid-older", 5],
    ]);
    assert.deepEqual(plan([web], { found }), [
      { op: "release-found", podUid: "uid-old", podIdx: 4 },
      { op: "release-found", podUid: "uid-older", podIdx: 5 },
    ]);
    assert.deepEqual(plan([web], { found: new Map([["uid-web", 3]]) }), [{ op: "enroll", workload: web }]);
  });

  test("listeners of a keeper that has gone are closed first, also of pods that the mesh does not name", () => {
    const orphaned: HeldPod = { ...heldWeb, state: "orphaned" };
    for (const workloads of [[web], []]) {
      assert.deepEqual(plan(workloads, { held: [orphaned], found: new Map([["uid-web", 3]]) }), [
        { op: "abandon", pod: orphaned },
      ]);
    }
  });

  test("what changed about a captured pod is adjusted in place, one thing after the other", () => {
    const moved = { ...web, identity: api.identity };
    assert.deepEqual(plan([moved], { held: [heldWeb] }, true), [
      { op: "set-fail-mode", pod: heldWeb, failDirect: true },
    ]);
    const direct: HeldPod = { ...heldWeb, failDirect: true };
    assert.deepEqual(plan([moved], { held: [direct] }, true), [
      { op: "set-identity", pod: direct, identity: api.identity },
    ]);
  });

  test("a pod that another step is busy with is left alone", () => {
    for (const state of ["preparing", "leaving", "gone"] as const) {
      for (const workloads of [[web], [], [{ ...web, addresses: ["10.0.0.7"] }]]) {
        assert.deepEqual(plan(workloads, { held: [{ ...heldWeb, state }] }, true), [], state);
      }
    }
  });
});
