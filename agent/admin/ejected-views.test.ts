import assert from "node:assert/strict";
import { test } from "node:test";
import type { EjectedEndpoint } from "../plan/ejection.ts";
import { ejectedText, ejectedViews } from "./ejected-views.ts";

const web = "spiffe://cluster.local/ns/shop/sa/web";
const ejected = (address: string, given: Partial<EjectedEndpoint> = {}): EjectedEndpoint => ({
  ...{ caller: web, service: "shop/api:80", rule: "shop/api[0]", address, port: 8080 },
  ...{ reason: "consecutive-5xx", times: 2, leftMs: 12_345 },
  ...given,
});

test("what several threads say is said once, in order; a time that is over is none", () => {
  const views = ejectedViews([ejected("10.0.0.2"), ejected("10.0.0.1", { leftMs: -5 }), ejected("10.0.0.2")]);
  assert.deepEqual(
    views.map(({ endpoint, leftMs, namespace }) => [endpoint, leftMs, namespace]),
    [
      ["10.0.0.1:8080", 0, "shop"],
      ["10.0.0.2:8080", 12_345, "shop"],
    ],
  );
  assert.equal(ejectedViews([ejected("fd00::1")])[0]?.endpoint, "[fd00::1]:8080");
});

test("explain says it of the caller's own, and of what nobody reaches", () => {
  const views = ejectedViews([
    ejected("10.0.0.1"),
    ejected("10.0.0.2", { caller: "", rule: "", reason: "probe-failed", leftMs: 900 }),
    ejected("10.0.0.3", { caller: "spiffe://cluster.local/ns/shop/sa/batch" }),
  ]);
  assert.equal(
    ejectedText(views, web),
    "left out for this caller: 10.0.0.1:8080 of shop/api:80 by shop/api[0] (consecutive-5xx, 13 s left), " +
      "10.0.0.2:8080 of shop/api:80 (probe-failed, 1 s left)",
  );
  assert.equal(ejectedText([], web), null);
  const many = ejectedViews(Array.from({ length: 9 }, (_, nth) => ejected(`10.0.0.${nth}`)));
  assert.match(ejectedText(many, web) ?? "", /, and 4 more$/);
});
