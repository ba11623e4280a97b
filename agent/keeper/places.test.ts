// places.ts on this machine's file systems: which directories may be the cgroup above all pods, and what the keeper says of others.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { cgroup2Mount } from "../process/mounts.ts";
import { namedCgroup } from "./places.ts";

const here = { mountinfo: readFileSync("/proc/self/mountinfo", "utf8") };
const mount = cgroup2Mount(here.mountinfo);
const ofCgroup2 = (directory: string): boolean => statfsSync(directory).type === 0x63677270;

test("where cgroup v2 is mounted is found, also beside version 1", { skip: mount === undefined }, () => {
  const found = namedCgroup("mounted", here);
  assert.ok(ofCgroup2(found), found);
  for (const named of [found, join(found, "kubepods"), join(found, "not", "there", "yet")])
    assert.equal(namedCgroup(named, here), named);
});

test("a directory of another file system is refused, with what to set", { skip: mount === undefined }, (t) => {
  const other = mkdtempSync(join(tmpdir(), "orlop-places-"));
  t.after(() => rmSync(other, { recursive: true }));
  const others = [other, join(other, "not", "yet"), ...(ofCgroup2("/sys/fs/cgroup") ? [] : ["/sys/fs/cgroup"])];
  for (const named of others)
    assert.throws(() => namedCgroup(named, here), {
      code: "ORL1004",
      message: new RegExp(`cgroup ${named} does not lie .*: set spec.podsCgroup to ${mount} or a directory below`),
    });
});

test("without cgroup v2 the keeper says so", () => {
  for (const named of ["mounted", "/sys/fs/cgroup"])
    assert.throws(() => namedCgroup(named, { mountinfo: "" }), {
      code: "ORL1003",
      message: /^cgroup v2 is not mounted/,
    });
});
