// PodWatch against cgroups of the kernel (root): a process that enters a pod's cgroup is heard of, wherever the cgroup is made.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PodWatch } from "../../agent/keeper/pod-watch.ts";
import { cgroup2Mount } from "../../agent/process/mounts.ts";

const mount = cgroup2Mount(readFileSync("/proc/self/mountinfo", "utf8")) ?? "";
const podsCgroup = join(mount, `orlop-watch-${process.pid}`);
const slice = join(podsCgroup, "kubepods-burstable.slice");
const made: string[] = [];
const make = (path: string): string => {
  mkdirSync(path);
  made.push(path);
  return path;
};
make(podsCgroup);
const early = make(join(podsCgroup, "pod11111111-1111-4111-8111-111111111111"));

let events = 0;
const watch = new PodWatch({
  tree: { podsCgroup, proc: "/proc" },
  changed: () => {
    events += 1;
    setImmediate(() => watch.look());
  },
  log: { debug() {}, info() {}, warn: (message) => assert.fail(message), error() {} },
});
const children: ChildProcess[] = [];
after(() => {
  watch.close();
  for (const child of children) child.kill("SIGKILL");
  for (const path of made.reverse()) rmdirSync(path);
});

/** Resolves when an event has come that was not there before `act`; the test's limit is the deadline. */
async function heard<T>(act: () => T): Promise<T> {
  const before = events;
  const result = act();
  while (events === before) await sleep(5);
  return result;
}

function enter(cgroup: string): ChildProcess {
  const child = spawn("sleep", ["60"]);
  children.push(child);
  writeFileSync(join(cgroup, "cgroup.procs"), String(child.pid));
  return child;
}

async function leave(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

test("the first process of a pod is heard of, also in a cgroup inside it, and so is the end of the last", async () => {
  const container = make(join(early, "container"));
  const first = await heard(() => enter(container));
  await heard(() => void leave(first));
  const second = await heard(() => enter(early));
  await heard(() => void leave(second));
});

test("pods and directories of pods that are made later are watched, and those that go are not", async () => {
  const before = watch.size;
  await heard(() => make(slice));
  const pod = await heard(() => make(join(slice, "kubepods-burstable-pod22222222_2222_4222_8222_222222222222.slice")));
  assert.equal(watch.size, before + 2);
  const child = await heard(() => enter(pod));
  await heard(() => void leave(child));
  // Both at once: nobody has seen the directory before there is a pod in it.
  const inner = join(slice, "inner");
  const deep = join(inner, "pod33333333-3333-4333-8333-333333333333");
  await heard(() => {
    make(inner);
    make(deep);
  });
  const last = await heard(() => enter(deep));
  await heard(() => void leave(last));
  for (const path of [deep, inner, pod, slice]) {
    await heard(() => rmdirSync(path));
    made.splice(made.indexOf(path), 1);
  }
  while (watch.size > before) await sleep(5);
});
