import assert from "node:assert/strict";
import { test } from "node:test";
import { comparePositions, lineText, nowhere, positionText, type SourceRef } from "./source-ref.ts";

const inFile = { file: "mesh.yaml", line: 7, column: 3 };
const whole = { file: "mesh.yaml", line: 0, column: 0 };
const policy = { kind: "AuthorizationPolicy", namespace: "shop", name: "callers", resourceVersion: "4711" };
const namespace = { kind: "Namespace", namespace: "", name: "shop", resourceVersion: "9" };

test("a position is written as editors read it, an object of an API server by name and version", () => {
  assert.deepEqual([inFile, whole, nowhere].map(positionText), ["mesh.yaml:7:3", "mesh.yaml", ""]);
  assert.deepEqual([inFile, nowhere].map(lineText), ["mesh.yaml:7", ""]);
  for (const text of [positionText, lineText]) {
    assert.equal(text(policy), "AuthorizationPolicy/shop/callers@4711");
    assert.equal(text(namespace), "Namespace/shop@9");
  }
});

test("positions have one order, whatever they came in", () => {
  const sorted: SourceRef[] = [
    { ...inFile, file: "a.yaml" },
    whole,
    inFile,
    { ...inFile, line: 8, column: 1 },
    policy,
    namespace,
  ];
  for (let turn = 0; turn < sorted.length; turn += 1) {
    const turned = [...sorted.slice(turn), ...sorted.slice(0, turn)];
    assert.deepEqual(turned.toSorted(comparePositions), sorted);
  }
});
