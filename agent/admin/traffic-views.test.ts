// What `orlop get services` says of a DestinationRule: each field that holds, by Istio's name and in words, and nothing of what is not written.
import assert from "node:assert/strict";
import { test } from "node:test";
import { nowhere } from "../mesh/source-ref.ts";
import type { TrafficPolicy } from "../mesh/traffic-policy.ts";
import { trafficView } from "./traffic-views.ts";

const nothing: TrafficPolicy = {
  ...{ outliers: null, maxRequests: null, hash: null, balance: null, warmUp: null },
  from: nowhere,
};

test("of a rule that says nothing there is nothing to show", () => {
  const { texts, connectionPool, outlierDetection } = trafficView(nothing);
  assert.deepEqual(texts, []);
  assert.deepEqual(Object.values(connectionPool), [null, null, null, null, null, null]);
  assert.equal(outlierDetection, null);
});

test("all that holds is there, by the names that the operator wrote", () => {
  const view = trafficView({
    ...nothing,
    outliers: { consecutive5xx: 5, consecutiveGateway: 0, baseMs: 30_000, maxEjected: 50, minHealthy: 25 },
    maxRequests: 100,
    maxConnections: 20,
    maxPending: 6,
    pool: { connectMs: 1_000, idleMs: 30_000, mostRequests: 0 },
    balance: "round-robin",
    hash: { key: { of: "header", name: "x-user" }, table: { kind: "ring", size: 1_024 } },
    warmUp: { durationMs: 60_000, minimumPercent: 10, aggression: 1 },
  });
  assert.deepEqual(view.texts, [
    "100 requests at once",
    "20 connections at once",
    "6 requests wait for a connection at most",
    "open within 1000 ms",
    "ended behind 30000 ms without a request",
    "left out after 5 failures in a row, for 30 s and longer, 50 % at most, none where fewer than 25 % would be left",
    "round-robin",
    "by header x-user by ring of 1024 places",
    "whole share after 60000 ms",
  ]);
  assert.deepEqual(view.connectionPool, {
    ...{ http2MaxRequests: 100, maxConnections: 20, http1MaxPendingRequests: 6 },
    ...{ connectTimeoutMs: 1_000, idleTimeoutMs: 30_000 },
    maxRequestsPerConnection: null,
  });
  assert.equal(view.outlierDetection?.maxEjectionPercent, 50);
  assert.equal(view.loadBalancer.hash, "header x-user by ring of 1024 places");
});
