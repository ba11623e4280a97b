import assert from "node:assert/strict";
import { test } from "node:test";
import { cgroupUidOf, type PodIdentity } from "./static-pod.ts";

const uid = "0a1b2c3d-1111-2222-3333-444455556666";
const hash = "5fb2a1a4e9b8a7a0b5c6d7e8f9a0b1c2";
const mirror: PodIdentity = {
  uid,
  annotations: {
    "kubernetes.io/config.hash": hash,
    "kubernetes.io/config.mirror": hash,
    "kubernetes.io/config.source": "file",
  },
  nodeName: "n1",
  ownerReferences: [{ kind: "Node", name: "n1", controller: true }],
};

test("a static pod is known on its node by the hash of its file, every other pod by its UID", () => {
  assert.equal(cgroupUidOf(mirror), hash);
  assert.equal(cgroupUidOf({ ...mirror, annotations: {} }), uid);
  const victim = "99999999-1111-2222-3333-444455556666";
  const source = { "kubernetes.io/config.mirror": hash };
  for (const forged of [
    { ...mirror, annotations: { "kubernetes.io/config.hash": hash } },
    { ...mirror, annotations: source },
    { ...mirror, annotations: { ...source, "kubernetes.io/config.hash": victim } },
    { ...mirror, annotations: { ...source, "kubernetes.io/config.hash": `${hash}/..` } },
    { ...mirror, ownerReferences: [] },
    { ...mirror, ownerReferences: [{ kind: "Node", name: "n2", controller: true }] },
    { ...mirror, ownerReferences: [{ kind: "Node", name: "n1" }] },
    { ...mirror, ownerReferences: [{ kind: "ReplicaSet", name: "n1", controller: true }] },
  ]) {
    assert.equal(cgroupUidOf(forged), uid, JSON.stringify(forged));
  }
});
