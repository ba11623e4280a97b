// Who may ask for what: of each thing that a review or a pod must say, its absence or another value refuses.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { spiffeId } from "../mesh/spiffe-id.ts";
import { callerOf, nodeOf, podFor } from "./caller.ts";
import type { BoundPod, TokenReview } from "./cluster.ts";
import { NotIssued } from "./not-issued.ts";

const good: TokenReview = {
  isAuthenticated: true,
  audiences: ["orlop-ca"],
  username: "system:serviceaccount:orlop-system:orlop-agent",
  extra: { podName: "orlop-agent-x", podUid: "u1", nodeName: "node-a" },
};
const agents = ["orlop-system/orlop-agent"];
const refused = (code: string) => (error: unknown) => error instanceof NotIssued && error.code === code;

test("a good review names the agent's pod and its node", () => {
  assert.deepEqual(callerOf(good, "orlop-ca", agents), {
    ...{ account: "orlop-system/orlop-agent", namespace: "orlop-system", podName: "orlop-agent-x", podUid: "u1" },
    node: "node-a",
  });
});

describe("a review is refused", () => {
  const cases: readonly (readonly [string, string, Partial<TokenReview>])[] = [
    ["not authenticated", "UNAUTHENTICATED", { isAuthenticated: false }],
    ["of no audience: a server that does not know them", "UNAUTHENTICATED", { audiences: [] }],
    ["of another audience", "UNAUTHENTICATED", { audiences: ["https://kubernetes.default.svc"] }],
    ["of a person", "PERMISSION_DENIED", { username: "admin" }],
    ["of a node", "PERMISSION_DENIED", { username: "system:node:node-a" }],
    ["of another account", "PERMISSION_DENIED", { username: "system:serviceaccount:orlop-system:default" }],
    ["of another namespace", "PERMISSION_DENIED", { username: "system:serviceaccount:shop:orlop-agent" }],
    [
      "of an account with a colon",
      "PERMISSION_DENIED",
      { username: "system:serviceaccount:orlop-system:orlop-agent:x" },
    ],
    ["without a pod", "PERMISSION_DENIED", { extra: { ...good.extra, podName: "" } }],
    ["without the pod's uid", "PERMISSION_DENIED", { extra: { ...good.extra, podUid: "" } }],
  ];
  for (const [name, code, change] of cases) {
    test(name, () => assert.throws(() => callerOf({ ...good, ...change }, "orlop-ca", agents), refused(code)));
  }
});

const agentPod: BoundPod = {
  ...{ namespace: "orlop-system", name: "orlop-agent-x", uid: "u1", node: "node-a", serviceAccount: "orlop-agent" },
  ...{ isFinished: false, isOnHostNetwork: true },
};
const caller = callerOf({ ...good, extra: { ...good.extra, nodeName: "" } }, "orlop-ca", agents);

test("where a review names no node, the pod does", () => {
  assert.equal(nodeOf(caller, agentPod), "node-a");
  const odd: readonly (BoundPod | undefined)[] = [
    undefined,
    { ...agentPod, uid: "of the next pod of this name" },
    { ...agentPod, node: "" },
    { ...agentPod, isFinished: true },
    { ...agentPod, serviceAccount: "default" },
    { ...agentPod, namespace: "shop" },
  ];
  for (const pod of odd) assert.throws(() => nodeOf(caller, pod), refused("PERMISSION_DENIED"));
});

const web = spiffeId("cluster.local", "shop", "web");
const webPod: BoundPod = {
  ...{ namespace: "shop", name: "web-1", uid: "u2", node: "node-a", serviceAccount: "web" },
  ...{ isFinished: false, isOnHostNetwork: false },
};

test("an identity is given for a pod that is alive on the node, with a network of its own", () => {
  assert.equal(podFor(web, "node-a", [{ ...webPod, isFinished: true }, webPod]), webPod);
  const odd: readonly BoundPod[] = [
    { ...webPod, node: "node-b" },
    { ...webPod, serviceAccount: "api" },
    { ...webPod, namespace: "bank" },
    { ...webPod, isFinished: true },
    { ...webPod, isOnHostNetwork: true },
    { ...webPod, uid: "" },
  ];
  for (const pod of odd) assert.throws(() => podFor(web, "node-a", [pod]), refused("PERMISSION_DENIED"));
  assert.throws(() => podFor(web, "", [{ ...webPod, node: "" }]), refused("PERMISSION_DENIED"));
  assert.throws(() => podFor(web, "node-a", []), refused("PERMISSION_DENIED"));
});
