import assert from "node:assert/strict";
import { test } from "node:test";
import { grpcTimeoutMs, soonerOf } from "./grpc-timeout.ts";

test("eight digits and a unit, as milliseconds", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["1S", 1_000],
    ["250m", 250],
    ["2M", 120_000],
    ["1H", 3_600_000],
    ["1500u", 2],
    ["1n", 1],
    ["0m", 1],
    ["99999999H", 2 ** 31 - 1],
    ["", 0],
    ["100000000m", 0],
    ["1s", 0],
    ["-1S", 0],
    ["1.5S", 0],
    ["1S ", 0],
  ];
  for (const [text, ms] of cases) assert.equal(grpcTimeoutMs(text), ms, text);
});

test("the sooner of two deadlines, where there are two", () => {
  assert.deepEqual([soonerOf(0, 0), soonerOf(5, 0), soonerOf(0, 7), soonerOf(5, 7), soonerOf(9, 7)], [0, 5, 7, 5, 7]);
});
