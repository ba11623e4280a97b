// The profiles of daemonset/seccomp, in force: what the programs do works under them with every violation a kill, and what
// they must never get is refused. A container runtime installs them the same way: no_new_privs, filter, execve.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Bench, nodeBinary } from "./confine.ts";
import { readProfile, systemCalls } from "./seccomp-filter.ts";

const bench = new Bench();
after(() => bench.remove());
const root = fileURLToPath(new URL("../..", import.meta.url));

/** NAME=ERRNO lines of forbidden.c. */
function answers(command: readonly string[]): Map<string, string> {
  const [program = "", ...rest] = command;
  const text = execFileSync(program, rest, { encoding: "utf8" });
  return new Map(
    text
      .trim()
      .split("\n")
      .map((line) => [line.split("=")[0] ?? "", line.split("=")[1] ?? ""]),
  );
}

describe("the agent's profile", () => {
  test("refuses what the agent must never get, even to root", () => {
    const forbidden = bench.build("forbidden.c");
    const confined = answers([...bench.under("agent", "profile"), forbidden]);
    const bare = answers([forbidden]);
    assert.ok(confined.size >= 25, [...confined.keys()].join(" "));
    for (const [name, answer] of confined) {
      if (name === "bpf-map-lookup") assert.equal(answer, "EBADF", "map elements are allowed on descriptors one has");
      else if (name === "clone3" || name === "io_uring_setup") assert.equal(answer, "ENOSYS", name);
      else assert.equal(answer, "EPERM", name);
    }
    // Without the profile the same questions have other answers, so it is the profile that refused.
    for (const name of ["setns", "unshare", "ptrace", "io_uring_setup", "packet-socket", "raw-socket", "fork"]) {
      assert.notEqual(bare.get(name), confined.get(name), name);
    }
  });

  for (const suite of ["engine-hbone", "engine-relay"]) {
    test(`test/loopback/${suite}: engines, handshakes, relays; a violation kills`, () => {
      const [confine, filter] = bench.under("agent", "kill");
      const ran = spawnSync(
        confine,
        [filter, nodeBinary, "--test", "--test-isolation=none", `test/loopback/${suite}.test.ts`],
        { cwd: root, encoding: "utf8", env: { ...process.env, NODE_TEST_CONTEXT: undefined } },
      );
      assert.equal(ran.status, 0, `${ran.signal}\n${ran.stdout}\n${ran.stderr}`);
      assert.match(ran.stdout, /pass [1-9]/);
    });
  }
});

describe("both profiles", () => {
  for (const name of ["agent", "keeper"] as const) {
    test(`${name}: names only system calls that exist, each with its reason, and refuses by default`, () => {
      const profile = readProfile(name);
      const known = systemCalls();
      assert.equal(profile.defaultAction, "SCMP_ACT_ERRNO");
      for (const rule of profile.syscalls) {
        assert.ok(rule.comment.length > 0, rule.names.join(" "));
        for (const call of rule.names) assert.ok(process.arch !== "x64" || known.has(call), call);
      }
    });
    test(`${name}: never the calls of another trade`, () => {
      const never = [
        "mount umount2 pivot_root chroot unshare ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd",
        "io_uring_enter io_uring_register userfaultfd perf_event_open keyctl add_key request_key fork vfork execveat",
        "init_module finit_module delete_module kexec_load reboot open_by_handle_at name_to_handle_at seccomp",
        "process_madvise fanotify_init quotactl swapon syslog acct iopl ioperm personality",
      ];
      const allowed = readProfile(name)
        .syscalls.filter(({ action }) => action === "SCMP_ACT_ALLOW")
        .flatMap(({ names }) => names);
      for (const call of never.join(" ").split(" ")) assert.ok(!allowed.includes(call), call);
      // The keeper looks at pods' processes and signals none.
      for (const call of name === "agent" ? ["setns"] : ["kill", "pidfd_open", "pidfd_send_signal"]) {
        assert.ok(!allowed.includes(call), call);
      }
    });
  }
});
