// test box · what a cluster in a box leaves on the machine, and how all of it goes away again, also after kill -9.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { cgroup2Mount as mountedCgroup2 } from "../../agent/process/mounts.ts";

/** One directory per living cluster, named by its id. Its file `owner` says which process answers for it. */
const RUN_ROOT = "/run/orlop-box";
const CGROUP_PREFIX = "orlop-box-";

export type BoxDirs = { readonly id: string; readonly runDir: string; readonly cgroup: string };

/**
 * Kills by membership of the box's own cgroups, never by name, and removes cgroups and files. Namespaces, veths, bpffs
 * mounts and pins live in namespaces that only these processes hold, so they go with them. Idempotent: two may run it.
 * A pid of 0 in cgroup.procs is a process of another pid namespace: `kill 0` would hit our own group.
 */
const SWEEP = `
tries=0
while [ -d "$1" ]; do
  if [ -w "$1/cgroup.kill" ]; then echo 1 > "$1/cgroup.kill"; else
    for procs in $(find "$1" -name cgroup.procs 2> /dev/null); do
      for pid in $(cat "$procs" 2> /dev/null); do [ "$pid" -gt 1 ] && kill -9 "$pid" 2> /dev/null; done
    done
  fi 2> /dev/null
  find "$1" -depth -type d -exec rmdir {} \\; 2> /dev/null
  tries=$((tries + 1))
  [ $tries -gt 200 ] && { echo "cannot remove $1" >&2; exit 1; }
  [ -d "$1" ] && sleep 0.02
done
rm -rf "$2"
rmdir "$(dirname "$2")" 2> /dev/null || true
`;

/** Where cgroup v2 is mounted: alone at /sys/fs/cgroup, or beside v1 in a hybrid layout. @throws when nowhere */
export function cgroup2Mount(mountinfo = readFileSync("/proc/self/mountinfo", "utf8")): string {
  const mount = mountedCgroup2(mountinfo);
  if (mount !== undefined) return mount;
  throw new Error("no cgroup v2 hierarchy is mounted here: mount -t cgroup2 none /sys/fs/cgroup/unified");
}

/** Start time of a process in clock ticks since boot (proc(5) stat field 22), with its pid unique on this boot. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name may hold spaces and brackets; the fields after its last bracket do not.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined; // No such process: that is the answer.
  }
}

function ownerLives(runDir: string): boolean {
  try {
    const [pid = "", started] = readFileSync(path.join(runDir, "owner"), "utf8").trim().split(" ");
    return started !== undefined && startTime(Number(pid)) === started;
  } catch {
    return false; // No readable owner file: the directory appears by rename with the file in it, so nobody owns it.
  }
}

/** Makes the run directory and the cgroup of a new box, owned by this process. */
export function createBox(): BoxDirs {
  const id = randomBytes(4).toString("hex");
  const runDir = path.join(RUN_ROOT, id);
  const cgroup = path.join(cgroup2Mount(), CGROUP_PREFIX + id);
  const fresh = path.join(RUN_ROOT, `.${id}-${process.pid}-${startTime(process.pid)}`);
  mkdirSync(fresh, { recursive: true, mode: 0o755 });
  writeFileSync(path.join(fresh, "owner"), `${process.pid} ${startTime(process.pid)}\n`);
  renameSync(fresh, runDir);
  mkdirSync(cgroup);
  return { id, runDir, cgroup };
}

/** Kills everything in the box and removes every trace of it. Throws when something would not go. */
export function sweepBox(box: BoxDirs): void {
  const done = spawnSync("sh", ["-c", SWEEP, "sweep", box.cgroup, box.runDir], { encoding: "utf8" });
  if (done.status !== 0)
    throw new Error(`cluster ${box.id}: ${done.stderr.trim() || `sweep ended with ${done.status}`}`);
}

/** None where there is no box. Another process removes the directory with its last box, at any moment. */
function runDirs(): readonly string[] {
  try {
    return readdirSync(RUN_ROOT);
  } catch {
    return []; // It is not there: that is the answer.
  }
}

/** Removes what dead runs left behind (kill -9, power cut). Returns their ids. Living ones are not touched. */
export function sweepDeadBoxes(): string[] {
  const cgroupRoot = cgroup2Mount();
  const ids = new Set<string>();
  for (const name of runDirs()) {
    // Died between mkdir and rename: the name itself says whose it was. Another process may sweep it at the same time.
    const [, , pid, started] = /^\.([0-9a-f]{8})-([0-9]+)-([0-9]+)$/.exec(name) ?? [];
    if (pid !== undefined && startTime(Number(pid)) !== started)
      rmSync(path.join(RUN_ROOT, name), { recursive: true, force: true });
    else if (/^[0-9a-f]{8}$/.test(name)) ids.add(name);
  }
  for (const name of readdirSync(cgroupRoot)) {
    const id = name.startsWith(CGROUP_PREFIX) ? name.slice(CGROUP_PREFIX.length) : "";
    if (/^[0-9a-f]{8}$/.test(id)) ids.add(id);
  }
  const swept: string[] = [];
  for (const id of ids) {
    const box = { id, runDir: path.join(RUN_ROOT, id), cgroup: path.join(cgroupRoot, CGROUP_PREFIX + id) };
    if (ownerLives(box.runDir)) continue;
    sweepBox(box);
    swept.push(id);
  }
  return swept;
}

/**
 * A process that waits for this one to die, however it dies, and then sweeps the box. It holds a pipe of ours: the
 * kernel closes it with us. In its own session, so that Ctrl-C in the terminal does not take it along.
 */
export function startJanitor(box: BoxDirs): ChildProcess {
  const script = `cat > /dev/null; ${SWEEP}`;
  const janitor = spawn("sh", ["-c", script, "orlop-janitor", box.cgroup, box.runDir], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
  });
  janitor.unref();
  (janitor.stdin as unknown as { unref(): void }).unref();
  return janitor;
}
