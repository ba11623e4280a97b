import assert from "node:assert/strict";
import { test } from "node:test";
import { DATAPLANE_MODE, ISTIO_DATAPLANE_MODE, isInMesh, membershipOf } from "./names.ts";

const ours = (value: string): Record<string, string> => ({ [DATAPLANE_MODE]: value });
const istio = (value: string): Record<string, string> => ({ [ISTIO_DATAPLANE_MODE]: value });

test("the pod's word counts before its namespace's; without any, a pod stays outside", () => {
  assert.equal(isInMesh("unset", false), false);
  assert.equal(isInMesh("unset", true), true);
  assert.equal(isInMesh("out", true), false);
  assert.equal(isInMesh("in", false), true);
});

test("Istio's label counts only where it is honoured, and never against ours", () => {
  assert.equal(membershipOf(istio("ambient"), false), "unset");
  assert.equal(membershipOf(istio("ambient"), true), "in");
  assert.equal(membershipOf(istio("none"), true), "out");
  assert.equal(membershipOf({ ...ours("none"), ...istio("ambient") }, true), "out");
  assert.equal(membershipOf({ ...ours("ambient"), ...istio("none") }, true), "in");
  assert.equal(membershipOf({ ...ours("Ambient"), ...istio("ambient") }, true), "unset");
});
