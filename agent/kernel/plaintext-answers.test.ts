// plaintext-answers.ts: what is kept is what would be said anew, and is asked of the evaluator once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { peerAuthentication, workload } from "../mesh/mesh.fake.ts";
import { MeshStore } from "../mesh/store.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { PlaintextAnswers } from "./plaintext-answers.ts";

test("a workload is judged once, until a policy or the workload itself is another", () => {
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const judge = judgeOf(mesh);
  let judged = 0;
  const counted: typeof judge = (facts) => {
    judged += 1;
    return judge(facts);
  };
  const answers = new PlaintextAnswers({ mesh, judge: counted });
  const web = workload("web", { labels: { app: "web" } });
  const asked = (of = web): readonly boolean[] => {
    const { failDirect, refusesPlaintext } = answers.of(of);
    return [failDirect, refusesPlaintext];
  };
  assert.deepEqual(asked(), [true, false]);
  const once = judged;
  mesh.apply([{ kind: "workload", op: "upsert", value: workload("api", { addresses: ["10.0.0.2"] }) }]);
  assert.deepEqual([asked(), judged], [[true, false], once]);
  mesh.apply([
    { kind: "peer-authentication", op: "upsert", value: peerAuthentication("STRICT", { selector: { app: "web" } }) },
  ]);
  assert.deepEqual(asked(), [false, true]);
  assert.ok(judged > once);
  assert.deepEqual(asked({ ...web, labels: { app: "other" } }), [true, false]);
});
