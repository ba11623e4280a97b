// enrollment.ts against a node of plain state: workloads that are edited, name what no pod has, or what another pod has.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { api, setUp, testTimes, until, web } from "./enrolled-node.fake.ts";
import { NodeEnrollment } from "./enrollment.ts";

describe("a workload that is edited", () => {
  test("a pod that the keeper cannot find is reported, and asked for again until it is there", async (t) => {
    const { node, enrollment, start } = setUp(t, [api, web], { retry: 20 });
    node.missing.add("uid-api");
    await start();
    assert.deepEqual(enrollment.states(), [
      { workloadUid: api.uid, podIdx: null, state: "failed", note: "no such cgroup" },
      { workloadUid: web.uid, podIdx: 2, state: "captured", note: "" },
    ]);
    await enrollment.firstTurn;
    node.missing.clear();
    await until(() => node.captured().length === 2);
    assert.deepEqual(
      enrollment.states().map(({ state }) => state),
      ["captured", "captured"],
    );
  });

  test("a workload that names another's pod is reported as long as it does, and neither is enrolled", async (t) => {
    const { enrollment, change, start } = setUp(t, [api, { ...web, podUid: api.podUid }]);
    await start();
    const notes = (): string[] => enrollment.states().map(({ state, note }) => `${state} ${note}`);
    const both = "failed shop/api and shop/web claim this pod: it is enrolled as nobody's";
    assert.deepEqual(notes(), [both, both]);
    await change(web);
    await until(() => notes().join() === "captured ,captured ");
  });

  test("a workload that is edited keeps its pod captured: addresses, name and service account", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    await start();
    node.calls.length = 0;
    node.workloads.clear();
    const edited = { ...web, uid: "cluster//Pod/shop/web-2", name: "web-2", addresses: ["10.0.0.1", "10.0.1.1"] };
    node.workloads.set(edited.uid, { ...edited, identity: api.identity });
    enrollment.followNames();
    assert.equal(enrollment.pods.workloadOf(1)?.uid, edited.uid, "at once");
    await enrollment.meshChanged();
    assert.deepEqual(
      node.calls.filter((call) => !call.startsWith("log")),
      ["serve 1", "guard uid-web", "addresses 1 10.0.0.1,10.0.1.1", "sever 1", "pods changed"],
    );
    assert.deepEqual([...node.held], [[api.identity.text, 1]]);
    assert.deepEqual(node.protectedPods.get("uid-web"), edited.uid);
  });

  for (const older of [false, true]) {
    const keeper = older ? "an older keeper: " : "";
    test(`${keeper}a pod whose namespace had another address than the mesh then names is not captured under it any more`, async (t) => {
      const { node, enrollment, change, start } = setUp(t, [{ ...api, addresses: [] }]);
      node.older = older;
      node.namespaceAddresses.set("uid-api", web.addresses);
      await start();
      assert.equal(node.captured().length, 1);
      node.absent.add("10.0.0.2");
      await change(api);
      assert.deepEqual([node.captured(), node.held.size, node.served.size, node.verdicts.size], [[], 0, 0, 0]);
      assert.deepEqual([...node.protectedPods.keys()], ["uid-api"], "it is guarded");
      assert.equal(node.calls.includes("release 1"), older);
      assert.deepEqual(
        enrollment.states().map(({ state, note }) => `${state} ${note}`),
        ["failed 10.0.0.2 is not there"],
      );
      assert.equal(node.warnings.length, 1);
      node.absent.clear();
      await until(() => node.captured().length === 1);
      assert.deepEqual([...node.kernel.values()][0]?.addresses, api.addresses);
      await enrollment.close();
    });
  }

  test("a wrong address is said once, and changes nothing until it is corrected", async (t) => {
    const { node, enrollment, change, start } = setUp(t, [web]);
    await start();
    node.absent.add("10.0.0.9");
    await change({ ...web, addresses: ["10.0.0.9"] });
    const note = { workloadUid: web.uid, podIdx: 1, state: "captured", note: "10.0.0.9 is not there" };
    assert.deepEqual(enrollment.states(), [note]);
    await enrollment.reconcile();
    assert.deepEqual(node.warnings, ["pod stays captured with the addresses that it has"]);
    await change(web);
    assert.deepEqual(enrollment.states(), [{ ...note, note: "" }]);
    assert.equal(node.calls.includes("release 1"), false);
  });

  test("a wrong UID or node leaves the pod captured, also for an agent that starts with the mistake", async (t) => {
    for (const mistake of [{ podUid: "uid-wrong" }, { node: "n2" }]) {
      const { node, enrollment, change, start } = setUp(t, [web]);
      await start();
      node.missing.add("uid-wrong");
      await change({ ...web, ...mistake });
      assert.deepEqual(node.captured(), [{ podIdx: 1, uid: "uid-web" }]);
      assert.match(enrollment.states()[0]?.note ?? "", /stays captured/);
      assert.ok(node.warnings.some((warning) => warning.includes("it stays captured")));
      await enrollment.close();
      const next = new NodeEnrollment({ node: "n1", times: testTimes }, node.ports);
      t.after(() => next.close());
      node.served.clear();
      void next.meshChanged();
      await next.keeperCame(node.keeperComes());
      assert.deepEqual(node.captured(), [{ podIdx: 1, uid: "uid-web" }]);
      node.workloads.set(web.uid, web);
      await next.meshChanged();
      assert.deepEqual(next.states(), [{ workloadUid: web.uid, podIdx: 1, state: "captured", note: "" }]);
      assert.deepEqual([...node.protectedPods.keys()], ["uid-web"]);
    }
  });

  test("a pod that took another's place under the name, and its address, is enrolled in its stead", async (t) => {
    const { node, change, start } = setUp(t, [web]);
    await start();
    await change({ ...web, podUid: "uid-web-2" });
    await until(() => node.captured().some(({ uid }) => uid === "uid-web-2"));
    assert.deepEqual(
      node.captured().map(({ uid }) => uid),
      ["uid-web-2"],
    );
  });
});
