// test double · a node's cgroup tree and /proc in a directory: namespaces are files, processes that share one link to it.
import { existsSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PodTree } from "./pods.ts";
import { UnbornPods } from "./unborn-pods.ts";

export class FakeNode implements PodTree {
  readonly root = mkdtempSync(join(tmpdir(), "orlop-node-"));
  readonly podsCgroup = join(this.root, "kubepods");
  readonly proc = join(this.root, "proc");
  readonly unborn = new UnbornPods();

  constructor() {
    mkdirSync(this.podsCgroup, { recursive: true });
    mkdirSync(join(this.root, "ns"));
    this.process("self", { ticks: 1, netns: "host" });
  }

  /** Makes a cgroup below the pods' ancestor, or replaces its list of processes. Returns its path. */
  cgroup(path: string, pids: readonly number[] = []): string {
    mkdirSync(join(this.podsCgroup, path), { recursive: true });
    writeFileSync(join(this.podsCgroup, path, "cgroup.procs"), pids.map((pid) => `${pid}\n`).join(""));
    return join(this.podsCgroup, path);
  }

  hasCgroup(path: string): boolean {
    return existsSync(join(this.podsCgroup, path));
  }

  process(pid: number | "self", { ticks, netns, state = "S" }: { ticks: number; netns: string; state?: string }): void {
    const directory = join(this.proc, String(pid));
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(join(directory, "ns"), { recursive: true });
    // A name with blanks and brackets, as a hostile process may choose.
    writeFileSync(join(directory, "stat"), `${pid} (a ) Z 1) ${state}${" 0".repeat(18)} ${ticks} 0 0\n`);
    writeFileSync(join(this.root, "ns", netns), "", { flag: "a" });
    linkSync(join(this.root, "ns", netns), join(directory, "ns", "net"));
  }

  /** Seconds since boot. Processes have begun at their ticks. */
  uptime(seconds: number): void {
    writeFileSync(join(this.proc, "uptime"), `${seconds}.25 ${seconds}.00\n`);
  }

  end(pid: number): void {
    rmSync(join(this.proc, String(pid)), { recursive: true, force: true });
  }

  /** A pod of one process, both named after `pid`. */
  pod(pid: number, netns = `pod-${pid}`): void {
    this.cgroup(`podp${pid}`, [pid]);
    this.process(pid, { ticks: 1000 + pid, netns });
  }

  remove(): void {
    rmSync(this.root, { recursive: true });
  }
}
