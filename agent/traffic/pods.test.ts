import assert from "node:assert/strict";
import { test } from "node:test";
import { Pods } from "./pods.ts";

const pod = (podIdx: number, workloadUid: string) => ({ podIdx, workloadUid, addresses: [], preservesSource: true });

test("an index or a workload that meant another pod means the new pod alone", () => {
  const pods = new Pods();
  pods.add(pod(1, "web"));
  pods.add(pod(2, "api"));
  pods.add(pod(1, "db"));
  assert.equal(pods.byWorkload("web"), undefined);
  assert.equal(pods.byIdx(1)?.workloadUid, "db");
  pods.add(pod(3, "api"));
  assert.equal(pods.byIdx(2), undefined);
  assert.equal(pods.byWorkload("api")?.podIdx, 3);
  assert.deepEqual(
    [...pods.all()].map(({ podIdx }) => podIdx),
    [1, 3],
  );
});

test("removing an index that is not there, or twice, removes nobody else", () => {
  const pods = new Pods();
  pods.add(pod(1, "web"));
  pods.remove(9);
  pods.remove(1);
  pods.remove(1);
  assert.deepEqual([pods.byIdx(1), pods.byWorkload("web"), [...pods.all()]], [undefined, undefined, []]);
});
