import assert from "node:assert/strict";
import { test } from "node:test";
import { cgroup2Mount, mountsOf, parseMountinfo } from "./mounts.ts";

const mountinfo = [
  "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - tmpfs tmpfs rw,mode=755",
  "26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:10 master:3 - cgroup2 cgroup2 rw",
  "27 30 0:25 / /sys/fs/bpf rw,nosuid - bpf none rw,mode=700",
  "28 30 0:26 / /mnt/with\\040blank rw - bpf or\\134lop rw",
  "29 30 0:27 / /mnt/with\\040blank rw - tmpfs tmpfs rw",
  "no line of that form",
  "",
].join("\n");

test("mounts are found by type, with the directory's own name", () => {
  assert.deepEqual(mountsOf(mountinfo, "bpf"), ["/sys/fs/bpf", "/mnt/with blank"]);
  assert.equal(cgroup2Mount(mountinfo), "/sys/fs/cgroup/unified");
  assert.equal(cgroup2Mount(""), undefined);
  const own =
    "26 25 0:24 / /run/node/cgroup rw - cgroup2 cgroup2 rw\n25 30 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
  assert.equal(cgroup2Mount(own), "/sys/fs/cgroup", "the usual place, whatever is mounted first");
});

test("of two mounts on one directory the later one comes last, with its source", () => {
  const there = parseMountinfo(mountinfo).filter(({ point }) => point === "/mnt/with blank");
  assert.deepEqual(there, [
    { id: 28, device: "0:26", root: "/", point: "/mnt/with blank", type: "bpf", source: "or\\lop" },
    { id: 29, device: "0:27", root: "/", point: "/mnt/with blank", type: "tmpfs", source: "tmpfs" },
  ]);
  assert.equal(parseMountinfo(mountinfo).length, 5);
});
