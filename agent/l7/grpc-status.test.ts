// grpc-status.ts: a call that failed is not taken for a call that was answered, whatever the status of HTTP.
import assert from "node:assert/strict";
import { test } from "node:test";
import { statusMeant } from "./grpc-status.ts";

test("a call means what its own status says, and everything else what HTTP says", () => {
  const meant = (grpcStatus: number | undefined, status = 200): number => statusMeant({ status, grpcStatus });
  assert.deepEqual(
    [0, 2, 4, 5, 7, 8, 12, 13, 14, 15, 16].map((number) => meant(number)),
    [200, 500, 504, 404, 403, 429, 501, 500, 503, 500, 401],
  );
  assert.deepEqual([meant(undefined), meant(-1), meant(17), meant(undefined, 404)], [200, 200, 200, 404]);
  assert.equal(meant(0, 502), 502, "what is between answered in its place");
});
