// enrollment-plan.ts: desired and present pods → the steps that may be carried out now.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { workload } from "../mesh/mesh.fake.ts";
import type { Workload } from "../mesh/workload.ts";
import { desiredPods } from "./desired-pods.ts";
import {
  type EnrollmentStep,
  guardsOf,
  type HeldPod,
  nextSteps,
  type PresentPods,
  type UnservedPod,
} from "./enrollment-plan.ts";

const web = workload("web", { addresses: ["10.0.0.1", "fd00::1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const heldWeb: HeldPod = {
  state: "captured",
  podIdx: 3,
  podUid: "uid-web",
  netnsCookie: 7n,
  preservesSource: true,
  workloadUid: web.uid,
  addresses: ["fd00::1", "10.0.0.1"],
  named: true,
  takenOver: false,
  identity: web.identity,
  failDirect: false,
};

function plan(
  workloads: readonly Workload[],
  present: Partial<PresentPods> = {},
  failDirect = false,
  isOfAnother = false,
): readonly EnrollmentStep[] {
  const desired = desiredPods(workloads, "n1");
  const all: PresentPods = {
    held: [],
    found: new Map(),
    guarded: new Map([...desired.pods].map(([podUid, { uid }]) => [podUid, uid])),
    named: new Map([...desired.pods].map(([podUid, { uid }]) => [podUid, uid])),
    beginning: new Set(),
    resting: new Set(),
    contested: new Set(),
    busy: new Set(),
    disowned: new Map(),
    ...present,
  };
  const members = workloads.filter(({ protocol }) => protocol === "hbone");
  return nextSteps(desired, all, {
    failDirect: () => failDirect,
    refusesPlaintext: () => !failDirect,
    memberLike: ({ workloadUid, addresses }) =>
      members.find(({ uid }) => uid === workloadUid) ??
      members.find((member) => member.addresses.some((address) => addresses.includes(address))),
    isOfAnother: () => isOfAnother,
  });
}
const foundPod = (podIdx: number, workloadUid?: string, addresses: readonly string[] = []): UnservedPod => ({
  podIdx,
  known: workloadUid === undefined ? undefined : { workloadUid, addresses },
});

describe("desired pods", () => {
  test("this node's pods that speak HBONE and have a pod UID, also without an address yet", () => {
    const others = [
      workload("far", { node: "n2" }),
      workload("out", { protocol: "none" }),
      workload("unknown", { podUid: "" }),
      workload("early", { addresses: [] }),
    ];
    const { pods, rivalries } = desiredPods([web, api, ...others], "n1");
    assert.deepEqual([[...pods.keys()].toSorted(), rivalries.size], [["uid-api", "uid-early", "uid-web"], 0]);
  });

  test("a pod that several workloads claim is nobody's, unless a single claimant names an address", () => {
    const thief = { ...api, podUid: "uid-web" };
    const silent = { ...thief, addresses: [] };
    const owners = (...claimants: readonly Workload[]): readonly (Workload | undefined)[] => {
      const { pods, rivalries } = desiredPods([...claimants, api], "n1");
      assert.deepEqual(
        rivalries.get("uid-web")?.claimants,
        claimants.toSorted((a, b) => (a.uid < b.uid ? -1 : 1)),
      );
      return [rivalries.get("uid-web")?.owner, pods.get("uid-web")];
    };
    const nobody = [undefined, undefined];
    assert.deepEqual(owners(web, thief), nobody);
    assert.deepEqual(owners(web, silent), [web, web]);
    assert.deepEqual(owners({ ...web, addresses: [] }, silent), nobody);
    const outside = { ...web, protocol: "none" as const };
    assert.deepEqual(owners(outside, silent), [outside, undefined], "outside the mesh, and no thief brings it in");
    assert.deepEqual(owners({ ...outside, addresses: [] }, silent), nobody);
    assert.deepEqual(owners({ ...outside, addresses: [] }, web), [web, web]);
  });
});

describe("the next steps", () => {
  test("none when the present is as desired, in whatever order the addresses are", () => {
    assert.deepEqual(plan([web], { held: [heldWeb] }), []);
  });

  test("missing pods are enrolled together; those that rest wait", () => {
    assert.deepEqual(plan([web, api]), [
      { op: "enroll", workload: api },
      { op: "enroll", workload: web },
    ]);
    const many = Array.from({ length: 40 }, (_, nth) => ({
      ...web,
      uid: `c//Pod/shop/web-${nth}`,
      podUid: `uid-${nth}`,
    }));
    assert.equal(plan(many).length, 40);
    assert.deepEqual(plan([web, api], { resting: new Set(["uid-api"]) }), [{ op: "enroll", workload: web }]);
    assert.deepEqual(plan([api], { resting: new Set(["uid-api"]) }), []);
  });

  test("pods that must not be open are guarded before anything else, under the workload that has them now", () => {
    const orphaned: HeldPod = { ...heldWeb, state: "orphaned" };
    assert.deepEqual(plan([web, api], { held: [orphaned], guarded: new Map([["uid-api", api.uid]]) }), [
      { op: "guard", workload: web },
    ]);
    const renamed = { ...web, uid: "cluster//Pod/shop/web-2" };
    assert.deepEqual(plan([renamed], { held: [heldWeb], guarded: new Map([["uid-web", web.uid]]) }), [
      { op: "guard", workload: renamed },
    ]);
    assert.deepEqual(plan([web], { guarded: new Map() }, true), [{ op: "enroll", workload: web }]);
  });

  test("a pod whose workload left the mesh is released", () => {
    for (const workloads of [[], [{ ...web, protocol: "none" as const }]]) {
      assert.deepEqual(plan(workloads, { held: [heldWeb] }), [{ op: "release", pod: heldWeb }]);
      assert.deepEqual(plan(workloads, { found: new Map([["uid-web", foundPod(3, web.uid)]]) }), [
        { op: "release-found", podUid: "uid-web", podIdx: 3 },
      ]);
    }
  });

  test("other addresses and another name are changed in place; what failed rests", () => {
    const moved = { ...web, addresses: ["10.0.0.7"] };
    assert.deepEqual(plan([moved], { held: [heldWeb] }), [{ op: "set-addresses", pod: heldWeb, workload: moved }]);
    assert.deepEqual(plan([moved], { held: [heldWeb], resting: new Set(["uid-web"]) }), []);
    const renamed = { ...web, uid: "cluster//Pod/shop/web-2" };
    assert.deepEqual(plan([renamed], { held: [heldWeb] }), [{ op: "set-workload", pod: heldWeb, workload: renamed }]);
  });

  test("a pod under addresses that only its namespace has yields them to whoever else has them; what the mesh has named stays", () => {
    const unnamed: HeldPod = { ...heldWeb, named: false };
    const begins = { ...web, addresses: [] };
    const yields = { op: "yield-addresses", pod: unnamed, workload: begins } as const;
    assert.deepEqual(plan([begins], { held: [unnamed] }, false, true), [yields]);
    assert.deepEqual(plan([begins], { held: [unnamed] }), []);
    assert.deepEqual(plan([begins], { held: [heldWeb] }, false, true), []);
    assert.deepEqual(plan([web], { held: [unnamed] }, false, true), []);
  });

  test("a workload with another node keeps its pod here, whoever holds it", () => {
    const elsewhere = { ...web, node: "n2" };
    assert.deepEqual(plan([elsewhere], { held: [heldWeb] }), []);
    assert.deepEqual(plan([elsewhere], { found: new Map([["uid-web", foundPod(3, web.uid)]]) }), []);
  });

  test("a workload with another pod keeps the former until the other is captured, or is there and contends with it", () => {
    const other = { ...web, podUid: "uid-web-2" };
    const heldOther: HeldPod = { ...heldWeb, podUid: "uid-web-2", podIdx: 4 };
    const resting = new Set(["uid-web-2"]);
    assert.deepEqual(plan([other], { held: [heldWeb] }), [{ op: "enroll", workload: other }]);
    assert.deepEqual(plan([other], { held: [heldWeb], resting }), []);
    const release = [{ op: "release", pod: heldWeb }];
    assert.deepEqual(plan([other], { held: [heldWeb], resting, contested: resting }), release);
    assert.deepEqual(plan([other], { held: [heldWeb, heldOther] }), release);
  });

  test("a workload that was renamed and misplaced in one edit keeps the pod with its address", () => {
    for (const mistake of [{ node: "n2" }, { podUid: "uid-wrong" }]) {
      const edited = { ...web, uid: "cluster//Pod/shop/web-2", ...mistake };
      const resting = new Set(["uid-wrong"]);
      assert.deepEqual(plan([edited], { held: [heldWeb], resting }), []);
      const found = new Map([["uid-web", foundPod(3, web.uid, web.addresses)]]);
      assert.deepEqual(plan([edited], { found, resting }), []);
    }
  });

  test("a pod that began without an address is guarded as such until it is captured", () => {
    const underPolicy = { failDirect: () => false, refusesPlaintext: () => false };
    const guards = (given: Workload, beginning: readonly string[]): readonly Workload[] =>
      guardsOf(
        desiredPods([given], "n1"),
        { held: [], guarded: new Map(), beginning: new Set(beginning) },
        underPolicy,
      );
    const unaddressed = { ...web, addresses: [] };
    assert.deepEqual(guards(unaddressed, []), [unaddressed]);
    assert.deepEqual(guards(web, ["uid-web"]), [web]);
    assert.deepEqual(guards(web, []), [], "it runs already");
  });

  test("a guard that is needless is released when the pod cannot be enrolled", () => {
    const found = new Map([["uid-web", foundPod(3, web.uid)]]);
    const resting = new Set(["uid-web"]);
    assert.deepEqual(plan([web], { found, resting }, true), [{ op: "release-found", podUid: "uid-web", podIdx: 3 }]);
    assert.deepEqual(plan([web], { found, resting }), []);
  });

  test("pods of an earlier agent: those that the mesh names are enrolled, the others released, all at once", () => {
    const found = new Map([
      ["uid-web", foundPod(3)],
      ["uid-old", foundPod(4, "")],
      ["uid-older", foundPod(5, "cluster//Pod/shop/older")],
      ["uid-unasked", foundPod(6)],
    ]);
    assert.deepEqual(plan([web], { found }), [
      { op: "release-found", podUid: "uid-old", podIdx: 4 },
      { op: "release-found", podUid: "uid-older", podIdx: 5 },
      { op: "identify-found", podUid: "uid-unasked", podIdx: 6 },
    ]);
    assert.deepEqual(plan([web], { found: new Map([["uid-web", foundPod(3)]]) }), [{ op: "enroll", workload: web }]);
  });

  test("listeners of a keeper that has gone are closed first, also of pods that the mesh does not name", () => {
    const orphaned: HeldPod = { ...heldWeb, state: "orphaned" };
    for (const workloads of [[web], []]) {
      assert.deepEqual(plan(workloads, { held: [orphaned], found: new Map([["uid-web", foundPod(3)]]) }), [
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

  test("pods wait for nobody but those that give up an address of theirs", () => {
    const moved = { ...web, addresses: ["10.0.0.7"] };
    const heir = { ...api, addresses: ["10.0.0.1"] };
    const release = { op: "release", pod: heldWeb } as const;
    const readdress = { op: "set-addresses", pod: heldWeb, workload: moved } as const;
    const enroll = { op: "enroll", workload: api } as const;
    assert.deepEqual(plan([api], { held: [heldWeb] }), [release, enroll]);
    assert.deepEqual(plan([moved, api], { held: [heldWeb] }), [readdress, enroll]);
    const contested = new Set(["uid-api"]);
    assert.deepEqual(plan([heir], { held: [heldWeb], contested }), [release]);
    assert.deepEqual(plan([moved, heir], { held: [heldWeb] }), [readdress]);
    const busy = new Set(["uid-web"]);
    assert.deepEqual(plan([heir], { held: [heldWeb], busy }), []);
    assert.deepEqual(plan([api], { held: [heldWeb], busy }), [enroll]);
    const known = new Map([["uid-web", foundPod(3, "", web.addresses)]]);
    const releaseFound = { op: "release-found", podUid: "uid-web", podIdx: 3 } as const;
    assert.deepEqual(plan([heir], { found: known, contested }), [releaseFound]);
    assert.deepEqual(plan([heir], { found: known, busy }), []);
    assert.deepEqual(plan([web, heir], { held: [heldWeb] }), [{ op: "enroll", workload: heir }], "it contends");
  });

  test("of a pod that is busy nothing begins, not even its guard", () => {
    const busy = new Set(["uid-web"]);
    assert.deepEqual(plan([web], { busy }), []);
    assert.deepEqual(plan([web], { busy, guarded: new Map() }), []);
    assert.deepEqual(plan([], { busy, held: [heldWeb] }), []);
  });

  test("a pod that another step is busy with is left alone", () => {
    for (const state of ["preparing", "leaving", "gone"] as const) {
      for (const workloads of [[web], [], [{ ...web, addresses: ["10.0.0.7"] }]]) {
        assert.deepEqual(plan(workloads, { held: [{ ...heldWeb, state }] }, true), [], state);
      }
    }
  });
});
