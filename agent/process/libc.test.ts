// libc.ts against the kernel: limits, capabilities, what is forbidden for good.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import * as libc from "./libc.ts";

const self = new URL("libc.ts", import.meta.url).href;
/** Runs TypeScript in a process of its own, since privileges are lost for good; returns what it printed as JSON. */
function inChild(source: string): unknown {
  const script = `import * as libc from ${JSON.stringify(self)};\n${source}`;
  const url = `data:text/javascript,${encodeURIComponent(script)}`;
  return JSON.parse(
    execFileSync(process.execPath, ["--input-type=module", "-e", `await import(${JSON.stringify(url)})`]).toString(),
  );
}

test("limits are read and written as 64 bit", () => {
  const before = libc.getLimit("nofile");
  assert.ok(before.soft > 0n && before.soft <= before.hard);
  assert.equal(libc.raiseOpenFiles(), before.hard);
  libc.setLimit("nofile", before);
  assert.deepEqual(libc.getLimit("nofile"), before);
  assert.throws(() => libc.setLimit("nofile", { soft: before.hard, hard: before.hard - 1n }), {
    name: "LibcError",
    code: "EINVAL",
    errno: -22,
    syscall: "setrlimit",
  });
});

test("a capability that the kernel does not know is not in the bounding set", () => {
  assert.equal(libc.inBoundingSet(63), false);
});

test("dumps and new privileges are forbidden for good", () => {
  const seen = inChild(`
    import ffi from ${JSON.stringify(import.meta.resolve("ffi-napi"))};
    import { readFileSync } from "node:fs";
    libc.forbidDumps(); libc.forbidNewPrivileges();
    const PR_GET_DUMPABLE = 3;
    const { prctl } = ffi.Library(null, { prctl: ["int", ["int"]] });
    const thread = readFileSync("/proc/thread-self/status", "utf8");
    console.log(JSON.stringify([prctl(PR_GET_DUMPABLE), /^NoNewPrivs:\\s*(\\d)/m.exec(thread)[1]]));`);
  assert.deepEqual(seen, [0, "1"]);
});
