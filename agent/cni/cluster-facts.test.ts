// cluster-facts.ts: the list of namespaces and the DaemonSet's life, from changes as a watch has them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { packed } from "../control/kubernetes/copy-file.ts";
import { daemonSetKind, isThereAfter, MeshedNamespaces } from "./cluster-facts.ts";

const change = (kind: string, name: string, metadata: object | undefined) => {
  const version = { kind, namespace: "", name, resourceVersion: "1" };
  return metadata === undefined
    ? packed({ op: "deleted", object: { kind, namespace: "", name } })
    : packed({ op: "present", apiVersion: "v1", version, uid: "u", object: { kind, metadata: { name, ...metadata } } });
};
const namespace = (name: string, labels: object | undefined) => change("Namespace", name, labels && { labels });
const ambient = { "orlop.dev/dataplane-mode": "ambient" };

test("the list has the namespaces of the mesh in order, and follows their labels", () => {
  const namespaces = new MeshedNamespaces("orlop-system", false);
  assert.equal(namespaces.list, "orlop namespaces 1\nend\n");
  const istio = { "istio.io/dataplane-mode": "ambient" };
  namespaces.apply([
    namespace("shop", ambient),
    namespace("bank", ambient),
    namespace("old", {}),
    namespace("i", istio),
  ]);
  assert.equal(namespaces.list, "orlop namespaces 1\nbank\nshop\nend\n");
  namespaces.apply([namespace("shop", { "orlop.dev/dataplane-mode": "none" }), namespace("bank", undefined)]);
  assert.equal(namespaces.list, "orlop namespaces 1\nend\n");
  namespaces.apply([
    change("Namespace", "odd", { labels: 1 }),
    change("Namespace", "odder", { labels: { a: 1, ...ambient } }),
  ]);
  assert.equal(namespaces.list, "orlop namespaces 1\nodder\nend\n");
  const honouring = new MeshedNamespaces("orlop-system", true);
  honouring.apply([namespace("i", istio)]);
  assert.equal(honouring.list, "orlop namespaces 1\ni\nend\n");
});

test("its own namespace goes from the moment that its deletion is asked for, until it is made again", () => {
  const namespaces = new MeshedNamespaces("orlop-system", false);
  assert.equal(namespaces.ownGoes, false);
  const deletionTimestamp = "2026-01-01T00:00:00Z";
  for (const [metadata, goes] of [
    [{}, false],
    [{ deletionTimestamp }, true],
    [undefined, true],
    [{}, false],
  ] as const) {
    namespaces.apply([change("Namespace", "orlop-system", metadata), change("Namespace", "shop", undefined)]);
    assert.equal(namespaces.ownGoes, goes);
  }
});

test("the DaemonSet is there from its first list to its deletion, and gone while it waits for its pods to go", () => {
  const there = change("DaemonSet", "orlop-cni", {});
  const going = change("DaemonSet", "orlop-cni", { deletionTimestamp: "2026-01-01T00:00:00Z" });
  const gone = change("DaemonSet", "orlop-cni", undefined);
  assert.equal(isThereAfter([], false), false, "an empty list");
  assert.equal(isThereAfter([there], false), true);
  assert.equal(isThereAfter([], true), true, "a list that changed nothing");
  assert.equal(isThereAfter([going], true), false);
  assert.equal(isThereAfter([gone], true), false);
  assert.equal(isThereAfter([gone, there], true), true, "made again");
  const { path, selector } = daemonSetKind({ namespace: "orlop-system", name: "orlop-cni" });
  assert.equal(
    `${path}?${selector}`,
    "/apis/apps/v1/namespaces/orlop-system/daemonsets?fieldSelector=metadata.name%3Dorlop-cni",
  );
});
