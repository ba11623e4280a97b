// privileges.ts against the kernel: children give up what they hold, and the test reads what each thread has left.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { setOf } from "./libc.ts";
import * as ours from "./privileges.ts";

const self = new URL("privileges.ts", import.meta.url).href;
/** Runs TypeScript in a process of its own, since privileges are lost for good; returns what it printed as JSON. */
function inChild(source: string): unknown {
  const script = `import * as ours from ${JSON.stringify(self)};\n${source}`;
  const url = `data:text/javascript,${encodeURIComponent(script)}`;
  return JSON.parse(
    execFileSync(process.execPath, ["--input-type=module", "-e", `await import(${JSON.stringify(url)})`]).toString(),
  );
}

test("no thread keeps a privilege, threads started in between included", () => {
  const seen = inChild(`
    import { Worker } from "node:worker_threads";
    import { readFile } from "node:fs/promises";
    ours.shedPrivileges(ours.agentStarts);
    const uid = process.getuid() || 65534;
    await readFile("/proc/self/status");
    const worker = new Worker("setInterval(() => {}, 1000)", { eval: true });
    await new Promise((resolve) => worker.once("online", resolve));
    ours.becomeUnprivileged(uid, uid);
    const threads = ours.readPrivileges();
    let regained = "no";
    try { process.setuid(0); regained = "yes"; } catch (error) { regained = error.code; }
    console.log(JSON.stringify({
      left: threads.flatMap(ours.privilegesLeft), count: threads.length, regained,
      mainBounding: process.getuid() === uid ? String(threads[0].bounding) : "other user",
    }));
    process.exit(0);`) as { left: string[]; count: number; regained: string; mainBounding: string };
  assert.deepEqual(seen.left, []);
  assert.ok(seen.count > 4, "worker, platform and pool threads were looked at");
  assert.equal(seen.regained, "EPERM");
  if (process.getuid?.() === 0) assert.equal(seen.mainBounding, "0");
});

test("the keeper's threads hold the capabilities of its start, and its main thread in the end those it lives with", {
  skip: process.getuid?.() !== 0,
}, () => {
  const seen = inChild(`
    ours.shedPrivileges(ours.keeperStarts);
    ours.keepOnly(ours.keeperLives);
    const hex = (set) => set.toString(16);
    console.log(JSON.stringify(ours.readPrivileges().map((thread) =>
      [thread.permitted, thread.effective, thread.inheritable, thread.bounding].map(hex).concat(thread.noNewPrivileges))));`) as unknown[];
  const starts = setOf(ours.keeperStarts).toString(16);
  const lives = setOf(ours.keeperLives).toString(16);
  assert.deepEqual(seen[0], [lives, lives, "0", starts, true]);
  for (const thread of seen.slice(1)) assert.deepEqual(thread, [starts, starts, "0", starts, true]);
});

test("the main thread comes first, also where the kernel has begun again at low thread numbers", {
  skip: process.getuid?.() !== 0,
}, () => {
  const script = `import { readPrivileges } from ${JSON.stringify(self)};
    console.log(JSON.stringify([process.pid, readPrivileges().map(({ thread }) => thread)]));`;
  // In a namespace of process numbers of its own the next number can be chosen: the threads of a process with a number
  // three below the end begin again at 300 (RESERVED_PIDS of linux:kernel/pid.c).
  const shell =
    'echo $(($(cat /proc/sys/kernel/pid_max) - 4)) > /proc/sys/kernel/ns_last_pid; "$0" --input-type=module -e "$1"; exit $?';
  const printed = execFileSync("unshare", [
    ...["--pid", "--fork", "--mount-proc", "sh", "-c", shell],
    ...[process.execPath, script],
  ]).toString();
  const [pid, threads] = JSON.parse(printed) as [number, number[]];
  assert.equal(threads[0], pid);
  assert.ok(Math.min(...threads) < pid, "some threads have lower numbers than the main thread");
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

test("every privilege is named, and a status without a line is an error", () => {
  assert.deepEqual(ours.privilegesLeft(ours.parsePrivileges(status())), []);
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
    assert.deepEqual(ours.privilegesLeft(ours.parsePrivileges(status(over))), [`thread 7: ${what}`]);
  }
  assert.throws(() => ours.parsePrivileges("Name:\tnode\n"), /no Pid/);
});

test("root is not an unprivileged user", () => {
  for (const id of [0, -1, 1.5, 2 ** 32 - 1]) assert.throws(() => ours.becomeUnprivileged(id, 65534), RangeError);
});
