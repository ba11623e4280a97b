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
  const argv = ["--expose-gc", "--input-type=module", "-e", `await import(${JSON.stringify(url)})`];
  return JSON.parse(execFileSync(process.execPath, argv).toString());
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

test("what malloc holds and nobody uses goes back to the kernel, also below what is in use", () => {
  const [held, kept] = inChild(`
    const rss = () => process.memoryUsage.rss();
    // Each is below the size from which malloc maps it by itself.
    const all = Array.from({ length: 500 }, () => Buffer.alloc(100_000, 1));
    const top = all.pop();
    all.length = 0;
    gc();
    // V8 frees what it has collected in a thread of its own, which a busy machine runs later. The test is held up by this process, also its
    // end: this has an end of its own.
    const isHeld = () => process.memoryUsage().arrayBuffers > 1_000_000;
    for (const end = performance.now() + 60_000; isHeld() && performance.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 1));
    if (isHeld()) throw new Error("V8 still holds " + process.memoryUsage().arrayBuffers + " bytes of arrays");
    const before = rss();
    libc.trimMalloc();
    console.log(JSON.stringify([before - rss(), top.length]));`) as [number, number];
  assert.ok(held > 25e6, `${held} of 50,000,000 bytes`);
  assert.equal(kept, 100_000);
});
