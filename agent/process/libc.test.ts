// libc.ts against the kernel: limits, interface names, memory locks, what is forbidden for good.
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
    syscall: "setrlimit",
  });
});

test("interface names: there and back, and refused before libc sees what is too long", () => {
  assert.equal(libc.interfaceName(libc.interfaceIndex("lo")), "lo");
  assert.throws(() => libc.interfaceIndex("no-such-one"), { code: "ENODEV", errno: 19 });
  assert.throws(() => libc.interfaceIndex("sixteen-bytes-xx"), RangeError);
  assert.throws(() => libc.interfaceIndex("l\0o"), RangeError);
  assert.throws(() => libc.interfaceIndex(""), RangeError);
  for (const index of [0, -1, 1.5, 2 ** 31, Number.NaN]) assert.throws(() => libc.interfaceName(index), RangeError);
});

test("a key is locked in its own pages only", () => {
  const key = Buffer.allocUnsafeSlow(4096);
  libc.lockMemory(key);
  libc.unlockMemory(key);
  assert.throws(() => libc.lockMemory(Buffer.from("pooled")), RangeError);
  assert.throws(() => libc.lockMemory(key.subarray(1)), RangeError);
  assert.throws(() => libc.lockMemory(Buffer.alloc(0)), RangeError);
});

test("capabilities beyond the last one are not in the bounding set", () => {
  assert.equal(libc.inBoundingSet(63), false);
});

test("dumps and new privileges are forbidden for good", () => {
  const seen = inChild(`
    libc.forbidDumps(); libc.forbidNewPrivileges();
    console.log(JSON.stringify([libc.mayBeDumped(), libc.newPrivilegesForbidden()]));`);
  assert.deepEqual(seen, [false, true]);
});
