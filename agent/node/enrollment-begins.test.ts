// enrollment.ts against a node of plain state: pods that begin, of which the mesh says nothing yet or something else than their namespaces.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { service, workload } from "../mesh/mesh.fake.ts";
import { api, setUp, testTimes, until, web } from "./enrolled-node.fake.ts";
import { NodeEnrollment } from "./enrollment.ts";

describe("a pod that begins", () => {
  test("a pod that the CNI plug-in begins is captured as soon as the mesh names it, and released once the mesh says what else it is", async (t) => {
    const { node, enrollment, change, start } = setUp(t, []);
    await start();
    for (const uid of ["uid-web", "uid-api"]) {
      node.namespaceAddresses.set(uid, ["10.0.0.1"]);
      const podIdx = node.begins(uid);
      enrollment.podStarting(podIdx, uid);
    }
    await enrollment.reconcile();
    assert.equal(node.kernel.size, 2, "the watch of the agent may be late");
    await change({ ...web, addresses: [] });
    assert.deepEqual(node.captured(), [{ podIdx: 1, uid: "uid-web" }]);
    assert.equal(node.kernel.size, 2);
    await change({ ...api, podUid: "uid-api", addresses: [], protocol: "none" });
    await until(() => !node.kernel.has(2));
    assert.deepEqual([...node.kernel.keys()], [1]);
  });

  test("an agent that takes the node releases no pod that just begins, whatever is known of it, until the mesh says what it is", async (t) => {
    const { node, enrollment, change } = setUp(t, []);
    node.keeperComes();
    for (const uid of ["uid-web", "uid-api", "uid-old"]) node.begins(uid);
    node.namespaceAddresses.set("uid-web", ["10.0.0.1"]);
    await enrollment.meshChanged();
    // While the agent waited for the node, the plug-in began the second.
    enrollment.podStarting(2, "uid-api");
    await enrollment.keeperCame([
      { podIdx: 1, uid: "uid-web", starting: true },
      { podIdx: 2, uid: "uid-api" },
      { podIdx: 3, uid: "uid-old" },
    ]);
    assert.deepEqual([...node.kernel.keys()], [1, 2]);
    await change({ ...web, addresses: [] });
    assert.deepEqual(node.captured(), [{ podIdx: 1, uid: "uid-web" }]);
    assert.deepEqual([...node.kernel.keys()], [1, 2]);
    await change({ ...api, podUid: "uid-api", addresses: [], protocol: "none" });
    await until(() => !node.kernel.has(2));
    assert.deepEqual([...node.kernel.keys()], [1]);
  });

  test("a pod that begins is not released on the word of a mesh that is behind the API server, nor while that says nothing", async (t) => {
    const { node, enrollment, change, start } = setUp(t, []);
    await start();
    const podIdx = node.begins("uid-web");
    node.namespaceAddresses.set("uid-web", ["10.0.0.1"]);
    enrollment.podStarting(podIdx, "uid-web");
    const asked = async (said: boolean | "nothing"): Promise<void> => {
      node.apiSays.set("uid-web", said);
      const before = node.asked;
      await until(() => node.asked > before + 1);
    };
    node.apiSays.set("uid-web", "nothing");
    // Its namespace's label is on the way.
    await change({ ...web, addresses: [], protocol: "none" });
    for (const said of ["nothing", false, "nothing"] as const) {
      await asked(said);
      assert.deepEqual([...node.kernel.keys()], [podIdx], String(said));
    }
    await change({ ...web, addresses: [] });
    assert.deepEqual(node.captured(), [{ podIdx, uid: "uid-web" }]);
    assert.ok(!node.calls.some((call) => call.startsWith("release")));
  });

  test("a pod that the CNI plug-in began and ended before the mesh said anything is forgotten", async (t) => {
    const { node, enrollment, change, start } = setUp(t, []);
    await start();
    enrollment.podStarting(node.begins("uid-web"), "uid-web");
    node.kernel.clear();
    enrollment.podGone(1, "uid-web");
    await change({ ...web, protocol: "none" });
    assert.ok(!node.calls.some((call) => call.startsWith("release")));
  });

  test("a pod that begins is guarded before it is there, and captured under its namespace's addresses before the mesh has them", async (t) => {
    const { node, enrollment, change, start } = setUp(t, []);
    await start();
    node.missing.add("uid-web");
    await change({ ...web, addresses: [] });
    const state = { workloadUid: web.uid, podIdx: null, state: "pending", note: "no such cgroup" };
    assert.deepEqual(enrollment.states(), [state]);
    assert.deepEqual(node.warnings, []);
    assert.ok(node.calls.includes("guard uid-web"));
    node.missing.clear();
    node.namespaceAddresses.set("uid-web", web.addresses);
    enrollment.podGuarded(1, "uid-web");
    await until(() => node.captured().length === 1);
    await enrollment.reconcile();
    assert.deepEqual(
      [...enrollment.pods.all()].map(({ addresses }) => addresses),
      [web.addresses],
    );
    node.calls.length = 0;
    await change(web);
    assert.deepEqual(
      node.calls.filter((call) => !call.startsWith("log")),
      ["pods changed"],
      "the mesh says the same",
    );
    await change({ ...web, addresses: ["10.0.0.8"] });
    assert.ok(node.calls.includes("addresses 1 10.0.0.8"), "the mesh has the last word");
  });

  test("a pod that begins is guarded at once, also while a step of another hangs", async (t) => {
    const { node, enrollment, change, start } = setUp(t, [web]);
    node.hanging.add("serve 1");
    void start();
    await until(() => node.calls.includes("serve 1"));
    node.underPolicy.add("api");
    node.keeperGoes();
    void change({ ...api, addresses: [] });
    // The mesh has its address before any keeper could be asked.
    void change(api);
    void enrollment.keeperCame(node.keeperComes());
    await until(() => node.protectedPods.has("uid-api"));
    assert.deepEqual([node.captured(), node.held.size], [[], 1], "the other pod still hangs");
    const late = workload("late", { addresses: ["10.0.0.3"] });
    void change(late);
    await until(() => node.protectedPods.has("uid-late"));
    assert.deepEqual([node.captured(), node.held.size], [[], 1], "the other pod still hangs");
    node.resume();
    await until(() => node.captured().length === 3);
    for (const name of ["api", "late"]) {
      assert.equal(node.calls.filter((call) => call === `guard uid-${name}`).length, 1, `${name} is asked for once`);
    }
    assert.deepEqual(node.warnings, []);
  });

  test("a pod that leaves while the keeper is too busy to answer for its guard keeps no guard", async (t) => {
    const { node, change, remove, start } = setUp(t, [web]);
    await start();
    node.lateGuards = 3;
    void change(api);
    await until(() => node.protectedPods.has("uid-api"));
    await remove(api);
    await until(() => node.kernel.size === 1 && node.protectedPods.size === 1);
    assert.deepEqual([...node.protectedPods.keys()], ["uid-web"]);
  });

  test("a pod that leaves while its guard is asked for keeps no guard", async (t) => {
    const { node, change, remove, start } = setUp(t, [web]);
    await start();
    void change(api);
    await remove(api);
    await until(() => node.kernel.size === 1 && node.calls.at(-1) === "pods changed");
    assert.deepEqual([...node.protectedPods.keys()], ["uid-web"]);
  });

  test("an address that the mesh has for another workload or a Service is nobody's to begin with", async (t) => {
    const { node, enrollment, change, start } = setUp(t, [{ ...web, node: "n2" }]);
    await start();
    node.services.set("10.96.0.1", service("dns"));
    // Nothing waits for it: meanwhile the keeper would hold the address for this pod.
    node.withoutCertificate.add(api.identity.text);
    for (const address of ["10.0.0.1", "10.96.0.1"]) {
      node.namespaceAddresses.set("uid-api", [address]);
      await change({ ...api, addresses: [] });
      assert.equal(enrollment.states()[0]?.note, "its namespace has an address of another workload");
      assert.deepEqual([node.captured(), node.held.size, node.served.size], [[], 0, 0]);
      assert.deepEqual([...node.protectedPods.keys()], ["uid-api"], "it is guarded");
      assert.deepEqual(
        node.calls.filter((call) => call.startsWith("release ") && !call.startsWith("release to guard ")),
        [],
        "it is guarded all the while",
      );
      assert.deepEqual(
        [...node.kernel.values()].map(({ addresses }) => addresses),
        [[]],
        "a pod of this node that has the address can be enrolled",
      );
    }
    assert.deepEqual(node.warnings, ["pod not captured"], "said once");
    node.certificatesCome();
    node.namespaceAddresses.set("uid-api", api.addresses);
    await until(() => node.captured().length === 1);
    assert.deepEqual([...node.kernel.values()][0]?.addresses, api.addresses);
    assert.deepEqual(node.verdicts.size, 1);
  });

  test("an address that the mesh gives to another while the pod waits for its certificate is not captured", async (t) => {
    const { node, enrollment, change, start } = setUp(t, [{ ...api, addresses: [] }]);
    node.namespaceAddresses.set("uid-api", web.addresses);
    node.withoutCertificate.add(api.identity.text);
    await start();
    assert.equal(node.captured().length, 1);
    await change({ ...web, node: "n2" });
    assert.equal(enrollment.states()[0]?.note, "its namespace has an address of another workload");
    assert.deepEqual([node.captured(), node.held.size, node.served.size, node.verdicts.size], [[], 0, 0, 0]);
    assert.deepEqual([[...node.protectedPods.keys()], node.lent.size], [["uid-api"], 0]);
    assert.deepEqual(node.warnings, ["pod not captured"], "said once");
    node.certificatesCome();
    node.namespaceAddresses.set("uid-api", api.addresses);
    await until(() => node.captured().length === 1);
    assert.deepEqual([...node.kernel.values()][0]?.addresses, api.addresses);
  });

  test("an address that the mesh gives to another while the pod is prepared is not captured", async (t) => {
    const { node, enrollment, start } = setUp(t, [{ ...api, addresses: [] }]);
    node.namespaceAddresses.set("uid-api", web.addresses);
    const say = node.calls.push.bind(node.calls);
    node.calls.push = (...items: string[]) => {
      if (items[0] === "serve 1") node.workloads.set(web.uid, { ...web, node: "n2" });
      return say(...items);
    };
    await start();
    assert.equal(enrollment.states()[0]?.note, "its namespace has an address of another workload");
    assert.ok(!node.calls.includes("capture 1"));
    assert.deepEqual([node.captured(), node.held.size, node.served.size, node.verdicts.size], [[], 0, 0, 0]);
    assert.deepEqual([[...node.protectedPods.keys()], node.lent.size], [["uid-api"], 0]);
  });

  test("a pod that leaves the mesh after its address was refused keeps no guard", async (t) => {
    const { node, change, remove, start } = setUp(t, [{ ...web, node: "n2" }]);
    await start();
    node.namespaceAddresses.set("uid-api", web.addresses);
    await change({ ...api, addresses: [] });
    assert.deepEqual([...node.protectedPods.keys()], ["uid-api"]);
    await remove(api);
    await until(() => node.kernel.size === 0);
    assert.deepEqual([...node.protectedPods], []);
  });

  test("an agent that starts over a capture under an address that is another's by now does not keep it", async (t) => {
    const { node, enrollment, start } = setUp(t, [{ ...api, addresses: [] }]);
    node.namespaceAddresses.set("uid-api", web.addresses);
    await start();
    assert.equal(node.captured().length, 1);
    await enrollment.close();
    const next = new NodeEnrollment({ node: "n1", times: testTimes }, node.ports);
    t.after(() => next.close());
    node.served.clear();
    node.calls.length = 0;
    node.workloads.set(api.uid, api);
    node.absent.add("10.0.0.2");
    void next.meshChanged();
    await next.keeperCame(node.keeperComes());
    assert.deepEqual(
      node.captured(),
      [{ podIdx: 1, uid: "uid-api" }],
      "nobody else has the address: it may be a mistake",
    );
    node.workloads.set(web.uid, { ...web, node: "n2" });
    await next.meshChanged();
    assert.deepEqual([node.captured(), node.verdicts.size], [[], 0]);
    assert.deepEqual([...node.protectedPods.keys()], ["uid-api"], "it is guarded");
    assert.deepEqual(
      node.calls.filter((call) => call.startsWith("release")),
      ["release to guard 1"],
    );
    await until(() => node.calls.filter((call) => call === "prepare uid-api").length > 4);
    assert.equal(node.calls.filter((call) => call.startsWith("release")).length, 1, "it is released once");
    node.absent.clear();
    await until(() => node.captured().length === 1);
    assert.deepEqual([...node.kernel.values()][0]?.addresses, api.addresses);
  });

  test("once the mesh has named what the namespace had, a later mistake leaves the pod captured", async (t) => {
    const { node, change, start } = setUp(t, [{ ...api, addresses: [] }]);
    node.namespaceAddresses.set("uid-api", api.addresses);
    await start();
    await change(api);
    node.absent.add("10.0.0.9");
    await change({ ...api, addresses: ["10.0.0.9"] });
    assert.deepEqual(node.captured(), [{ podIdx: 1, uid: "uid-api" }]);
    assert.deepEqual(node.warnings, ["pod stays captured with the addresses that it has"]);
  });
});
