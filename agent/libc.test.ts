// libc.ts against the kernel: limits, interface names, memory locks, and a child that ends with no privilege in any thread.
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

test("no thread keeps a privilege, threads started in between included", () => {
  const seen = inChild(`
    import { Worker } from "node:worker_threads";
    import { readFile } from "node:fs/promises";
    libc.shedPrivileges();
    const uid = process.getuid() || 65534;
    await readFile("/proc/self/status");
    const worker = new Worker("setInterval(() => {}, 1000)", { eval: true });
    await new Promise((resolve) => worker.once("online", resolve));
    libc.becomeUnprivileged(uid, uid);
    const threads = libc.readPrivileges();
    let regained = "no";
    try { process.setuid(0); regained = "yes"; } catch (error) { regained = error.code; }
    console.log(JSON.stringify({
      left: threads.flatMap(libc.privilegesLeft), count: threads.length, regained,
      mainBounding: process.getuid() === uid ? String(threads[0].bounding) : "other user",
    }));
    process.exit(0);`) as { left: string[]; count: number; regained: string; mainBounding: string };
  assert.deepEqual(seen.left, []);
  assert.ok(seen.count > 4, "worker, platform and pool threads were looked at");
  assert.equal(seen.regained, "EPERM");
  if (process.getuid?.() === 0) assert.equal(seen.mainBounding, "0");
});

const status = (over: Record<string, string> = {}): string =>
  Object.entries({
    Pid: "7",
    Uid: "5 5 5 5",
    Gid: "5 5 5 5",
    Groups: "",
    CapInh: "0",
    CapPrm: "0",
    CapEff: "0",
    CapBnd: "000001ffffffffff",
    CapAmb: "0",
    NoNewPrivs: "1",
    ...over,
  })
    .map(([name, value]) => `${name}:\t${value}\n`)
    .join("");

test("every privilege is named, and an unreadable status is not believed", () => {
  assert.deepEqual(libc.privilegesLeft(libc.parsePrivileges(status())), []);
  const cases: [Record<string, string>, string][] = [
    [{ Uid: "5 0 5 5" }, "user 0"],
    [{ Gid: "5 5 5 0" }, "group 0"],
    [{ Groups: "7 0" }, "group 0"],
    [{ CapInh: "1" }, "inheritable capabilities 1"],
    [{ CapPrm: "20" }, "permitted capabilities 20"],
    [{ CapEff: "8000000000" }, "effective capabilities 8000000000"],
    [{ CapAmb: "2" }, "ambient capabilities 2"],
    [{ NoNewPrivs: "0" }, "may gain new privileges"],
  ];
  for (const [over, what] of cases) {
    assert.deepEqual(libc.privilegesLeft(libc.parsePrivileges(status(over))), [`thread 7: ${what}`]);
  }
  assert.throws(() => libc.parsePrivileges("Name:\tnode\n"), /no Pid/);
});

test("root is not an unprivileged user", () => {
  for (const id of [0, -1, 1.5, 2 ** 32 - 1]) assert.throws(() => libc.becomeUnprivileged(id, 65534), RangeError);
});
