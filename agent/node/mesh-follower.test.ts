// A change of the mesh reaches everybody in its order.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Emit } from "../control/source.ts";
import type { LocalPod } from "../kernel/pair-verdicts.ts";
import type { MeshChange } from "../mesh/store.ts";
import { followMesh } from "./mesh-follower.ts";
import { untilAborted } from "./stop-signal.ts";

test("a change of the mesh reaches everybody in its order; once the agent leaves, only those that hold connections", async () => {
  const calls: string[] = [];
  const leaving = new AbortController();
  let emit: Emit = () => assert.fail("nobody follows");
  const change = {} as MeshChange;
  const pods: readonly LocalPod[] = [];
  const { close } = followMesh({
    source: {
      run: async (given, signal) => {
        emit = given;
        await untilAborted(signal);
        calls.push("source ended");
      },
    },
    mesh: {
      apply: () => {
        calls.push("mesh");
        return change;
      },
    },
    threads: { tell: ({ op }) => void calls.push(`threads ${op}`) },
    settled: { sent: () => void calls.push("sent") },
    limits: {
      before: () => {
        calls.push("limits");
        return [{ name: "shop/all", cells: null }];
      },
    },
    watch: {
      beforeMeshChange: () => void calls.push("before"),
      afterMeshChange: () => void calls.push("after"),
    },
    pairs: {
      changed: (...args) => {
        assert.deepEqual(args, [change, pods]);
        calls.push("pairs");
      },
    },
    tables: { setDestinations: () => [String(calls.push("tables"))] },
    directs: { sweep: async () => void calls.push("directs") },
    enrollment: {
      followNames: () => void calls.push("names"),
      meshChanged: async () => void calls.push("enrollment"),
      localPods: () => pods,
    },
    leaving: leaving.signal,
    onApplied: () => void calls.push("applied"),
  });
  const always = ["before", "mesh", "limits", "threads limit-cells", "threads updates", "sent", "after"];
  emit([]);
  assert.deepEqual(calls.splice(0), [...always, "names", "pairs", "tables", "directs", "applied", "enrollment"]);
  leaving.abort();
  emit([]);
  assert.deepEqual(calls.splice(0), always);
  await close();
  assert.deepEqual(calls, ["source ended"]);
});
