// Keeper and agent as the DaemonSets start them (root): the manifest's capabilities and user, the seccomp profiles with every
// violation a kill, /proc/sys read-only as in a container. One pod, run by another user, is captured and dials.
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chownSync,
  existsSync,
  lchownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { upToDateProgram } from "../../.ci/strip.js";
import { AGENT_USER } from "../../agent/control/kinds/node-config.ts";
import { EmbeddedAuthority } from "../../agent/identity/embedded.ts";
import { cgroup2Mount } from "../../agent/process/mounts.ts";
import { Bench, nodeBinary } from "./confine.ts";
import { container, podOf } from "./manifest.ts";

/** Of agents of earlier revisions. */
const FORMER_USER = 65_534;
const root = fileURLToPath(new URL("../..", import.meta.url));
const main = upToDateProgram();
const mount = cgroup2Mount(readFileSync("/proc/self/mountinfo", "utf8"));
assert.ok(mount, "this test needs cgroup v2");
const base = join(mount, `orlop-confined-test-${process.pid}`);
const pods = join(base, "pods");
const uid = "5c0ffee5-0000-4000-8000-0000000000aa";
const podCgroup = join(pods, `pod${uid}`);
const bench = new Bench();
const at = (name: string): string => join(bench.folder, name);
const config = at("cfg/orlop.yaml");
const moved = (path: string): string => path.replace(root, `${at("opt")}/`);

const text = `apiVersion: orlop.dev/v1alpha1
kind: NodeConfig
spec:
  node: confined.${process.pid}
  runDir: ${at("run")}
  stateDir: ${at("state")}
  bpffs: ${at("bpf")}
  podsCgroup: ${pods}
  dataThreads: 1
  ca: { rootFile: ${at("lib/ca/root.pem")} }
---
apiVersion: v1
kind: Namespace
metadata: { name: demo, labels: { orlop.dev/dataplane-mode: ambient } }
---
apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: { name: web, namespace: demo, uid: ${uid} }
spec: { addresses: [10.77.9.2], node: confined.${process.pid}, serviceAccount: web }
---
apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: { name: api, namespace: demo, uid: elsewhere }
spec: { addresses: [192.0.2.7], node: another, serviceAccount: api }
`;

const PATIENCE_MS = 60_000;

/** Processes leave their cgroup a moment after their end. */
async function removeCgroup(path: string): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; existsSync(path); await sleep(10)) {
    try {
      rmdirSync(path);
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}

/** A child with everything it wrote. */
class Program {
  readonly child: ChildProcess;
  readonly name: string;
  said = "";

  constructor(name: string, words: readonly string[]) {
    const [command = "", ...args] = words;
    this.name = name;
    this.child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (part: Buffer) => {
        this.said += part;
      });
    }
  }

  /** True once it said so, false when it ended without, or after a minute. */
  async either(words: string): Promise<boolean> {
    for (const end = performance.now() + PATIENCE_MS; performance.now() < end && !this.said.includes(words); ) {
      const { exitCode, signalCode } = this.child;
      if (exitCode !== null || signalCode !== null) break;
      await sleep(10);
    }
    return this.said.includes(words);
  }

  async says(words: string): Promise<void> {
    const said = await this.either(words);
    const how = `${this.name}, status ${this.child.exitCode}, signal ${this.child.signalCode}, never said: ${words}`;
    assert.ok(said, `${how}\n${this.said}`);
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const ended = new Promise<number | null>((resolve) => this.child.once("exit", resolve));
    this.child.kill(signal);
    return ended;
  }
}

/** As words of setpriv. */
const bounding = (capabilities: readonly string[]): string =>
  ["-all", ...capabilities.map((capability) => `+${capability.toLowerCase()}`)].join(",");

const startKeeper = (capabilities: readonly string[]): Program =>
  new Program("keeper", [
    ...["unshare", "-m", "sh", "-c", readOnlySysctl, "sh"],
    ...["setpriv", "--regid", String(AGENT_USER), "--clear-groups"],
    ...["--bounding-set", bounding(capabilities), "--inh-caps=-all"],
    ...bench.under("keeper", "kill"),
    ...[nodeBinary, main, "keeper", "-c", config],
  ]);

const givenKeeper = 'mount --bind "$0" "$1" && mount --bind "$2" "$2" && shift 2 && exec "$@"';
const startAgent = (): Program =>
  new Program("agent", [
    // The checkout may lie where its user cannot read; only this process sees it there. The keeper's directory is a volume of its pod.
    ...["unshare", "-n", "-m", "sh", "-c", givenKeeper, root, at("opt"), `${at("run")}-keeper`],
    ...["setpriv", "--reuid", String(AGENT_USER), "--regid", String(AGENT_USER), "--clear-groups"],
    ...["--bounding-set", bounding(container("agent").capabilities), "--inh-caps=-all", "--no-new-privs"],
    ...bench.under("agent", "kill"),
    ...[moved(nodeBinary), moved(main), "agent", "-c", config],
  ]);

/** The first container of the keeper's pod, its paths moved into our folder. */
function runFirst(paths: ReadonlyMap<string, string>): void {
  const [first] = podOf("keeper").initContainers ?? [];
  const [shell = "", flags = "", script = ""] = first?.command ?? [];
  let moved = script;
  for (const [from, to] of paths) moved = moved.replaceAll(from, to);
  const bounds = bounding(first?.securityContext.capabilities.add ?? []);
  execFileSync("setpriv", ["--clear-groups", "--bounding-set", bounds, "--inh-caps=-all", shell, flags, moved]);
}

/** Twice, as after a restart, when the run directory is the agent's already. */
function prepareNode(): void {
  const paths = new Map([
    ["/run/orlop", at("run")],
    ["/var/lib/orlop", at("state")],
    ["/var/lib/kubelet", at("kubelet")],
    ["/opt/orlop/", root],
  ]);
  mkdirSync(at("kubelet"));
  for (let start = 0; start < 2; start++) runFirst(paths);
  for (const name of ["run", "state"]) {
    const { uid: owner, gid, mode } = statSync(at(name));
    assert.deepEqual([owner, gid, mode & 0o777], [AGENT_USER, AGENT_USER, 0o700]);
  }
  const copy = join(at("state"), "last-good-cluster.jsonl");
  // What an agent of before left behind, and what such an agent could plant if an attacker had it.
  const planted: readonly [owner: number, make: () => void][] = [
    [AGENT_USER, () => writeFileSync(copy, "")],
    [0, () => symlinkSync(at("secret"), copy)],
    [FORMER_USER, () => linkSync(at("secret"), copy)],
  ];
  writeFileSync(at("secret"), "");
  for (const [owner, make] of planted) {
    make();
    lchownSync(copy, FORMER_USER, FORMER_USER);
    for (const name of ["run", "state"]) chownSync(at(name), FORMER_USER, FORMER_USER);
    runFirst(paths);
    assert.deepEqual([statSync(copy).uid, statSync(at("state")).uid], [owner, AGENT_USER]);
    unlinkSync(copy);
  }
  assert.deepEqual(readdirSync(at("kubelet/seccomp/orlop")), ["agent.json", "keeper.json"]);
}

/** A root for the embedded authority, in a file of the agent's own: the cluster has the control program in its place. */
async function makeRoot(): Promise<void> {
  const rootFile = at("lib/ca/root.pem");
  mkdirSync(dirname(rootFile), { recursive: true });
  await new EmbeddedAuthority(
    { rootFile, leafTtlSeconds: 3600, trustDomain: "cluster.local" },
    { wallMs: Date.now },
  ).roots();
  for (const path of [dirname(rootFile), rootFile]) chownSync(path, AGENT_USER, AGENT_USER);
}

/** As a container runtime mounts it. */
const readOnlySysctl = 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"';

describe("a node of confined programs", () => {
  let pause: Program;
  let keeper: Program;
  let agent: Program;

  before(async () => {
    for (const folder of ["run", "state", "bpf", "cfg", "opt"]) mkdirSync(at(folder));
    await makeRoot();
    prepareNode();
    writeFileSync(config, text, { mode: 0o644 });
    execFileSync("mount", ["-t", "bpf", "-o", "mode=0700", "bpf", at("bpf")]);
    mkdirSync(podCgroup, { recursive: true });
    // As the pause container: a user of its own and no capability.
    const network = "ip link set lo up && ip addr add 10.77.9.2/32 dev lo";
    const sleeper = "exec setpriv --reuid 65535 --regid 65535 --clear-groups sleep 600";
    const script = `echo $$ > ${podCgroup}/cgroup.procs && ${network} && echo up && ${sleeper}`;
    pause = new Program("pause", ["unshare", "-n", "sh", "-c", script]);
    await pause.says("up");
    keeper = startKeeper(container("keeper").capabilities);
    await keeper.says("the keeper serves");
    agent = startAgent();
  });
  after(async () => {
    await agent?.end("SIGKILL");
    await keeper?.end("SIGKILL");
    await pause?.end("SIGKILL");
    execFileSync("umount", [at("bpf")]);
    for (const path of [podCgroup, pods, base]) await removeCgroup(path);
    bench.remove();
  });

  test("the pod of another user is captured", async () => {
    await agent.says("pod captured");
    await agent.says('"ready"');
  });

  test("what the pod dials is accepted by the agent, with its destination out of a lent map", async () => {
    const dial = `const s = require("net").connect(80, "192.0.2.7"); s.on("error", () => {}); s.on("close", () => {});`;
    const join_ = `echo $$ > ${podCgroup}/cgroup.procs; exec nsenter -t ${pause.child.pid} -n "$@"`;
    execFileSync("sh", ["-c", join_, "sh", nodeBinary, "-e", dial]);
    await agent.says("192.0.2.7:80");
  });

  test("both end as told, unkilled", async () => {
    assert.equal(await agent.end("SIGTERM"), 0, agent.said);
    assert.equal(await keeper.end("SIGTERM"), 0, keeper.said);
  });

  /** Who says what when it is missing. BPF alone is not missed: SYS_ADMIN holds it; it is named for what it is used for. */
  const missed = {
    NET_ADMIN: { program: "keeper", says: /EPERM: Operation not permitted, setsockopt\(SO_MARK\)/ },
    // setns. The programs load without it.
    SYS_ADMIN: { program: "keeper", says: /EPERM|EACCES/ },
    // It finds pods, and sees where the agent runs, by /proc/<pid>/ns of other users.
    SYS_PTRACE: { program: "keeper", says: /where it runs cannot be seen/ },
  } as const;
  for (const [without, { program, says }] of Object.entries(missed)) {
    test(`a keeper without ${without} says what it lacks`, async () => {
      const lesser = startKeeper(container("keeper").capabilities.filter((capability) => capability !== without));
      const asking = (await lesser.either("the keeper serves")) ? startAgent() : undefined;
      try {
        const said = (): string => (program === "keeper" ? lesser.said : (asking?.said ?? ""));
        for (const end = performance.now() + PATIENCE_MS; performance.now() < end && !says.test(said()); )
          await sleep(10);
        assert.match(said(), says, asking?.said);
      } finally {
        await asking?.end("SIGKILL");
        await lesser.end("SIGKILL");
      }
    });
  }
});
