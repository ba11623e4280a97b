// enrollment.ts against a node of plain state: pods that wait for their certificates, and what comes to them meanwhile.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { workload } from "../mesh/mesh.fake.ts";
import { api, setUp, until, web } from "./enrolled-node.fake.ts";

describe("a pod without a certificate", () => {
  test("a pod is captured before its certificate is there; what comes to it through the mesh waits for that", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    node.withoutCertificate.add(web.identity.text);
    await start();
    await enrollment.firstTurn;
    assert.deepEqual(
      enrollment.states().map(({ state }) => state),
      ["captured"],
    );
    assert.deepEqual([...(node.accepting.get(1) ?? [])], ["outbound"]);
    node.certificatesCome();
    await turn();
    assert.deepEqual([...(node.accepting.get(1) ?? [])], ["outbound", "hbone"]);
    assert.equal(node.lent.size, 0);
  });

  test("a certificate that does not come in time: what comes to the pod is accepted and refused", async (t) => {
    const { node, start } = setUp(t, [web], { certificate: 5 });
    node.withoutCertificate.add(web.identity.text);
    await start();
    await until(() => node.accepting.get(1)?.has("hbone") === true);
    assert.deepEqual([...(node.accepting.get(1) ?? [])], ["outbound", "hbone"]);
  });

  test("a pod that an earlier agent captured is left to that agent until its certificate is there", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    node.capturedBefore("uid-web");
    node.withoutCertificate.add(web.identity.text);
    let isFirstOver = false;
    void enrollment.firstTurn.then(() => {
      isFirstOver = true;
    });
    await start();
    await turn();
    assert.deepEqual([...(node.accepting.get(1) ?? [])], []);
    assert.equal(isFirstOver, false, "until then that agent does not stop");
    node.certificatesCome();
    await enrollment.firstTurn;
    assert.deepEqual([...(node.accepting.get(1) ?? [])], ["outbound", "hbone"]);
  });

  test("its service account changes while a pod waits for its certificate: it waits for the other", async (t) => {
    const { node, change, start } = setUp(t, [web]);
    node.withoutCertificate.add(web.identity.text);
    node.withoutCertificate.add(api.identity.text);
    await start();
    await change({ ...web, identity: api.identity });
    await turn();
    assert.deepEqual([...(node.accepting.get(1) ?? [])], ["outbound"]);
    node.certificatesCome();
    await turn();
    assert.deepEqual([...(node.accepting.get(1) ?? [])], ["outbound", "hbone"]);
    assert.deepEqual([...node.held], [[api.identity.text, 1]]);
  });

  test("forty pods wait for their certificates, and none of them holds up another, or the pod that has one", async (t) => {
    const names = Array.from({ length: 40 }, (_, nth) => `pod-${nth}`);
    const pods = names.map((name, nth) => workload(name, { addresses: [`10.0.2.${nth}`] }));
    const { node, change, start } = setUp(t, pods);
    for (const { identity } of pods) node.withoutCertificate.add(identity.text);
    await start();
    await change(web);
    assert.equal(node.captured().length, 41);
    assert.deepEqual([...(node.accepting.get(41) ?? [])], ["outbound", "hbone"]);
    node.certificatesCome();
    await turn();
    assert.equal([...node.accepting.values()].filter((kinds) => kinds.has("hbone")).length, 41);
  });

  test("verdicts follow the mesh at once, also while a pod waits for its certificate; plaintext is ended until it is", async (t) => {
    const { node, change, start } = setUp(t, [web, api]);
    await start();
    const late = workload("late", { addresses: ["10.0.0.3"] });
    node.withoutCertificate.add(late.identity.text);
    void change(late);
    await until(() => node.held.has(late.identity.text));
    node.tightened.add(2);
    node.keeperGoes();
    void change();
    assert.equal(node.calls.at(-1), "sever 2");
    await until(() => node.warnings.length > 0);
    node.keeperComes();
    const calls = node.calls.length;
    await until(() => node.calls.slice(calls).includes("sever 2"));
  });

  test("a keeper that goes while a pod waits for its certificate: the pod is prepared anew by the next", async (t) => {
    const { node, enrollment, start } = setUp(t, [web]);
    node.withoutCertificate.add(web.identity.text);
    void start();
    await until(() => node.held.size > 0);
    node.keeperGoes();
    const again = enrollment.keeperCame(node.keeperComes());
    node.certificatesCome();
    await again;
    assert.equal(node.captured().length, 1);
    assert.deepEqual([...node.held], [[web.identity.text, 1]]);
    assert.deepEqual(enrollment.states().length, 1);
  });

  test("a pod that leaves the mesh while it waits for its certificate: what had come is accepted, and nothing is kept", async (t) => {
    const { node, remove, start } = setUp(t, [web]);
    node.withoutCertificate.add(web.identity.text);
    await start();
    node.calls.length = 0;
    await remove(web);
    assert.deepEqual(node.calls, ["release 1", "serve 1", "leave 1", "unserve 1", "pods changed"]);
    assert.deepEqual([node.kernel.size, node.held.size, node.lent.size, node.accepting.size], [0, 0, 0, 0]);
    node.certificatesCome();
    await turn();
    assert.deepEqual([node.served.size, node.accepting.size], [0, 0], "it is not served again");
  });

  test("keeper, namespace or agent goes while a pod waits for its certificate: its listeners are closed", async () => {
    for (const goes of ["keeper", "namespace", "agent"] as const) {
      const { node, enrollment, start } = setUp(null, [web]);
      node.withoutCertificate.add(web.identity.text);
      await start();
      assert.equal(node.lent.size, 1);
      if (goes === "agent") await enrollment.close();
      if (goes === "keeper") node.keeperGoes();
      if (goes === "keeper") await enrollment.keeperCame(node.keeperComes());
      node.missing.add("uid-web");
      if (goes === "namespace") enrollment.podGone(node.podGoes("uid-web").gone ?? 0, "uid-web");
      await turn();
      // The next keeper's wait for the certificate, too.
      assert.equal(node.lent.size, goes === "keeper" ? 2 : 0, goes);
      await enrollment.close();
      await turn();
      assert.equal(node.lent.size, 0, goes);
    }
  });
});
