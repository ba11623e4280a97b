// A process in a cgroup namespace of its own, as every pod is on cgroup v2, finds its directory in the node's tree and the cgroup of
// the kubelet's pods (root). Real cgroups, in directories that the test makes.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { cgroup2Mount } from "../../agent/process/mounts.ts";

const mount = cgroup2Mount(readFileSync("/proc/self/mountinfo", "utf8"));
assert.ok(mount !== undefined, "cgroup v2 is not mounted");
const base = join(mount, `orlop-cgns-${process.pid}`);
const made: string[] = [];

function cgroup(path: string): string {
  for (let at = path.indexOf("/", base.length); ; at = path.indexOf("/", at + 1)) {
    const part = at === -1 ? path : path.slice(0, at);
    if (!made.includes(part)) {
      mkdirSync(part);
      made.push(part);
    }
    if (at === -1) return path;
  }
}
after(() => {
  for (const path of made.toReversed()) rmdirSync(path);
});

const files = fileURLToPath(new URL("../../agent/process/cgroup-files.ts", import.meta.url));
const tree = fileURLToPath(new URL("../../agent/process/cgroup-tree.ts", import.meta.url));
const program = `
import { cgroupReader, cgroupTexts } from ${JSON.stringify(files)};
import { ownCgroup, podsCgroup } from ${JSON.stringify(tree)};
const texts = cgroupTexts();
console.log(JSON.stringify({
  line: /^0::.*$/m.exec(texts.procCgroup)[0],
  own: ownCgroup(texts, cgroupReader).directory,
  pods: podsCgroup(texts, cgroupReader).directory,
}));`;

const pod = "0f6f8a7c_1b2c_4d3e_9f00_112233445566";
const layouts = {
  "systemd driver": [
    "kubepods.slice",
    `kubepods-besteffort.slice/kubepods-besteffort-pod${pod}.slice/cri-containerd-1.scope`,
  ],
  "cgroupfs driver": ["kubepods", `besteffort/pod${pod.replaceAll("_", "-")}/0123`],
  "--cgroup-root=/kubelet": [
    "kubelet.slice/kubelet-kubepods.slice",
    `kubelet-kubepods-pod${pod}.slice/cri-containerd-1.scope`,
  ],
};

for (const [name, [pods = "", below = ""]] of Object.entries(layouts)) {
  test(`in a cgroup namespace of its own: ${name}`, () => {
    const own = cgroup(join(base, name.replaceAll(/[^a-z]/g, "-"), pods, below));
    // Into the cgroup first, so that it becomes the namespace's root.
    const shell = 'echo $$ > "$0/cgroup.procs" && exec unshare --cgroup --mount "$@"';
    const words = ["-c", shell, own, process.execPath, "--input-type=module", "-e", program];
    const { status, stdout, stderr } = spawnSync("sh", words, { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), {
      line: "0::/",
      own,
      pods: join(base, name.replaceAll(/[^a-z]/g, "-"), pods),
    });
  });
}
