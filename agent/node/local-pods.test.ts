import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { workload } from "../traffic/mesh.fake.ts";
import { type EnrolledPod, podChanges } from "./local-pods.ts";

const web = workload("web", { addresses: ["10.0.0.1", "fd00::1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const held: EnrolledPod = { podIdx: 3, podUid: "uid-web", workloadUid: web.uid, addresses: ["fd00::1", "10.0.0.1"] };

describe("who should be enrolled here", () => {
  test("this node's pods of the mesh that are not yet", () => {
    const strangers = [
      workload("far", { node: "n2" }),
      workload("out", { protocol: "none" }),
      workload("unknown", { podUid: "" }),
      workload("early", { addresses: [] }),
    ];
    const { enrol, release, conflicts } = podChanges([web, api, ...strangers], "n1", [held]);
    assert.deepEqual(
      enrol.map((one) => one.name),
      ["api"],
    );
    assert.deepEqual([release, conflicts], [[], []]);
  });

  test("who left the mesh, the node or the world is released", () => {
    for (const now of [[], [{ ...web, protocol: "none" as const }], [{ ...web, node: "n2" }]]) {
      const { enrol, release } = podChanges(now, "n1", [held]);
      assert.deepEqual(enrol, []);
      assert.deepEqual(release, [held]);
    }
  });

  test("other addresses, another pod behind the name: released and enrolled again", () => {
    const moved = { ...web, addresses: ["10.0.0.7"] };
    assert.deepEqual(podChanges([moved], "n1", [held]), { enrol: [moved], release: [held], conflicts: [] });
    const reborn = { ...web, podUid: "uid-web-2" };
    assert.deepEqual(podChanges([reborn], "n1", [held]), { enrol: [reborn], release: [held], conflicts: [] });
  });

  test("a pod that two workloads claim goes to the first by uid, and the other is named", () => {
    const thief = { ...api, podUid: "uid-web" };
    const { enrol, conflicts } = podChanges([web, thief], "n1", []);
    assert.deepEqual(
      enrol.map((one) => one.name),
      ["api"],
    );
    assert.deepEqual(
      conflicts.map((one) => one.name),
      ["web"],
    );
  });
});
