import assert from "node:assert/strict";
import { constants } from "node:os";
import { test } from "node:test";
import type { CloseCause, Closed } from "../engine/events.ts";
import { workload } from "../mesh/mesh.fake.ts";
import { endingOf } from "./outcome.ts";

const closed = (cause: CloseCause, given: Partial<Closed> = {}): Closed => ({
  type: "closed",
  conn: 1,
  generation: 1,
  cause,
  detail: 0,
  message: "",
  sentBytes: 0,
  receivedBytes: 0,
  durationUs: 0,
  ...given,
});

const flags: readonly (readonly [CloseCause, string])[] = [
  ["finished", "-"],
  ["reset-by-downstream", "-"],
  ["reset-by-upstream", "-"],
  ["refused", "DENY"],
  ["closed-by-answer", "DENY"],
  ["connect-failed", "CONNECT"],
  ["connect-timeout", "CONNECT"],
  ["tls-failed", "TLS_FAILURE"],
  ["tls-peer-rejected", "IDENTITY_ERROR"],
  ["h2-failed", "H2_HANDSHAKE_FAILURE"],
  ["tunnel-refused", "CONNECT"],
  ["tunnel-lost", "CONNECT"],
  ["protocol-error", "CONNECT"],
  ["no-socket", "CONNECT"],
  ["shed", "CONNECT"],
  ["drained", "-"],
  ["answer-timeout", "CONNECT"],
  ["unanswered", "CONNECT"],
  ["peer-certificate-ended", "IDENTITY_ERROR"],
];
for (const [cause, flag] of flags) {
  test(`${cause} counts as ${flag}`, () => {
    assert.equal(endingOf(closed(cause), null, false).flag, flag);
    assert.equal(endingOf(closed(cause), null, false).cause, cause);
  });
}

test("our own reason replaces the engine's only where the engine says that it was ours", () => {
  assert.deepEqual(endingOf(closed("refused"), "no-healthy-endpoint", false), {
    flag: "CONNECT",
    cause: "no-healthy-endpoint",
    message: "no healthy endpoint for the service",
    early: true,
  });
  assert.equal(endingOf(closed("closed-by-answer"), "policy", true).flag, "DENY");
  assert.equal(endingOf(closed("reset-by-upstream"), "policy", true).flag, "-");
});

test("an address-conflict names the first three workloads", () => {
  const names = (count: number): string => {
    const claimants = ["a", "b", "c", "d", "e"].slice(0, count).map((name) => workload(name));
    return endingOf(closed("refused"), "address-conflict", false, claimants).message;
  };
  assert.equal(names(2), "several workloads claim the destination address: shop/a and shop/b");
  assert.match(names(5), /: shop\/a and shop\/b and shop\/c and 2 more$/);
});

test("a refused dial of a tunnel says what that means, and that of an application does not", () => {
  const refused = closed("connect-failed", { detail: constants.errno.ECONNREFUSED });
  assert.match(endingOf(refused, null, true).message, /15008 each time: its node has not captured the pod$/);
  assert.equal(endingOf(refused, null, false).message, "connection failed");
});

test("the engine's own words are kept beside ours", () => {
  assert.equal(endingOf(closed("tunnel-refused", { detail: 401 }), null, true).message, "http status: 401");
  const failed = endingOf(closed("tls-failed", { message: "certificate has expired" }), null, true);
  assert.equal(failed.message, "TLS handshake failed: certificate has expired");
});
