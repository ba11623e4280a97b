// Probes of a kubelet to pods that are STRICT or under a policy, with `orlop run` in a node of its own: a network namespace and a
// process namespace, in which a program called kubelet is found, lost and found again.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { exits } from "../../agent/cli/output.ts";
import { startServers } from "../../demo/app/roles.ts";
import { initialState, type MeshState, meshText } from "../../demo/mesh/mesh-file.ts";
import { accessLog, pidOf, startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Node, orlopMain } from "../box/cluster.ts";
import type { Finished, Running } from "../box/process.ts";

/** Dials as it is asked, line by line: `<kind> <address> <port>`, and says what came of it. */
const prober = `
import errno, http.client, socket, sys
print("up", flush=True)
for line in sys.stdin:
  kind, address, port = line.split()
  try:
    if kind == "http":
      c = http.client.HTTPConnection(address, int(port), timeout=5); c.request("GET", "/"); answer = str(c.getresponse().status)
    else:
      s = socket.create_connection((address, int(port)), 5); s.send(b"hello\\n"); answer = "answered" if s.recv(9) else "closed"
      s.close()
  except OSError as e: answer = errno.errorcode.get(e.errno, repr(e))
  print(answer, flush=True)
`;
const HTTP = 8090;
const TCP = 8080;
const state: MeshState = { ...initialState, optedOut: new Set(), vaultCallers: ["nobody"] };

describe("a kubelet's probes", { concurrency: 1 }, () => {
  let cluster: Cluster;
  let node: Node;
  /** Enters the node's own process namespace, whose process 1 lives in the node's network namespace. */
  let enter: readonly string[] = [];
  const kubeletCgroup = (): string => path.join(cluster.cgroup, node.name, "kubelet");
  const otherCgroup = (): string => path.join(cluster.cgroup, node.name, "other");

  before(async () => {
    cluster = await createCluster({
      nodes: [{ name: "node-a", pods: ["vault", "api", "cache"].map((name) => ({ name, labels: { app: name } })) }],
      nodeConfig: "  dataThreads: 1\n  nodeAccess: kubelet\n",
    });
    node = cluster.node("node-a");
    for (const each of [kubeletCgroup(), path.join(kubeletCgroup(), "child"), otherCgroup()]) mkdirSync(each);
    const holder = node.start([
      "unshare",
      "--pid",
      "--fork",
      "--kill-child",
      "--mount-proc",
      "sh",
      "-c",
      "echo up; sleep infinity",
    ]);
    await holder.line(10_000, (line) => line === "up");
    const [first = ""] = readFileSync(`/proc/${holder.pid}/task/${holder.pid}/children`, "utf8").trim().split(" ");
    enter = ["nsenter", "--target", first, "--pid", "--mount", "--"];
    // By these the keeper finds the pods: it sees no process of another process namespace.
    for (const pod of node.pods) pod.start([...enter, "sleep", "infinity"]);
    cluster.writeMesh(meshText(cluster, state));
    const inside = {
      ...node,
      orlop: (args: readonly string[]) => node.start([...enter, process.execPath, orlopMain, ...args]),
    };
    await Promise.all([
      startMesh({ ...cluster, nodes: [inside] }),
      ...node.pods.map(startServers),
      ...node.pods.map(startHttp),
    ]);
  });
  after(() => cluster?.close());

  async function startHttp(pod: Cluster["outside"]): Promise<void> {
    const server = pod.start([
      "python3",
      "-u",
      "-m",
      "http.server",
      String(HTTP),
      "--bind",
      "::",
      "--directory",
      cluster.dir,
    ]);
    await server.line(15_000);
  }

  /** A program that asks what it is asked, called `name`, in a cgroup of the node. */
  async function start(name: string, cgroup: string): Promise<Running> {
    const program = path.join(cluster.dir, name);
    if (name !== "python3") await makeLink(program);
    const script = 'echo $$ > "$0/cgroup.procs" && exec "$1" -u -c "$2"';
    const running = node.start([...enter, "sh", "-c", script, cgroup, name === "python3" ? name : program, prober]);
    await running.line(10_000, (line) => line === "up");
    return running;
  }
  async function makeLink(program: string): Promise<void> {
    const real = (await node.run(["python3", "-c", "import sys; print(sys.executable)"])).stdout.trim();
    try {
      symlinkSync(real, program);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
  }
  const ask = (from: Running, kind: "http" | "tcp", address: string, port: number): Promise<string> => {
    from.write(`${kind} ${address} ${port}\n`);
    return from.line(10_000);
  };
  const pod = (name: string) => cluster.pod(name);
  const orlop = (...args: string[]): Promise<Finished> =>
    node.orlop([...args, "--socket", `${node.runDir}/agent.sock`]).wait(20_000);
  const letIn = async (): Promise<readonly { readonly name: string; readonly cgroup: string }[]> =>
    (await view(node, "status")).nodeAccess.programs;

  let kubelet: Running;
  let neighbour: Running;

  test("without a kubelet nobody is let in, and status and check say so", async () => {
    neighbour = await start("python3", kubeletCgroup());
    assert.equal(await ask(neighbour, "tcp", pod("vault").ip4, TCP), "ECONNREFUSED");
    const status = await orlop("status");
    assert.match(status.stdout, /no process of the node is the kubelet/);
    const checked = await orlop("check");
    assert.match(checked.stdout, /nodeAccess kubelet: nobody of the node is let in.*ORL2002/);
    assert.equal(checked.status, exits.findings);
  });

  test("HTTP and TCP probes are answered, IPv4 and IPv6, by a STRICT pod and by pods under ALLOW and DENY", async () => {
    kubelet = await start("kubelet", kubeletCgroup());
    const [found] = await until("the kubelet", 10_000, async () => {
      const programs = await letIn();
      return programs.length > 0 ? programs : undefined;
    });
    assert.deepEqual([found?.name, found?.cgroup], ["kubelet", kubeletCgroup()]);
    for (const name of ["vault", "api", "cache"]) {
      for (const address of [pod(name).ip4, pod(name).ip6]) {
        assert.equal(await ask(kubelet, "http", address, HTTP), "200", name);
        assert.equal(await ask(kubelet, "tcp", address, TCP), "answered", name);
      }
    }
  });

  test("log, counters, explain, status and get bpf say what was let in", async () => {
    const line = await until("the probe in the access log", 10_000, () =>
      accessLog(node).find((entry) => entry["dst.addr"] === `${pod("vault").ip4}:${HTTP}`),
    );
    assert.equal(line.reason, "node-access");
    assert.deepEqual([line["src.identity"], line.policy], [undefined, undefined]);
    const { items } = await view(node, "bpf");
    const counter = items.find(({ name }) => name === "in_node_access");
    assert.ok(counter?.type === "counter" && counter.value >= 8);
    assert.match(
      (await orlop("explain", "node", "demo/vault:8080")).stdout,
      /^ALLOW at layer L4: node-access\n[\s\S]*kubelet \(pid \d+/,
    );
    assert.match(
      (await orlop("explain", "node", "demo/vault:8080", "--expect", "allow")).stdout,
      /neither judged nor read/,
    );
    assert.match((await orlop("status", "-o", "wide")).stdout, /kubelet +kubelet \(pid \d+\)/);
    assert.match((await orlop("check")).stdout, /nodeAccess kubelet: let in to pods of this node: kubelet \(pid \d+\)/);
  });

  test("a cgroup below it, another cgroup, a pod and a host of no mesh are judged like anybody else", async () => {
    const child = await start("python3", path.join(kubeletCgroup(), "child"));
    const other = await start("python3", otherCgroup());
    for (const from of [child, other]) {
      for (const address of [pod("vault").ip4, pod("vault").ip6]) {
        assert.equal(await ask(from, "tcp", address, TCP), "ECONNREFUSED");
      }
    }
    for (const host of [pod("cache"), cluster.outside]) {
      const dial = `import socket; s = socket.create_connection(("${pod("vault").ip4}", ${TCP}), 5); s.send(b"x\\n"); print(len(s.recv(9)))`;
      const done = await host.run(["python3", "-c", dial]);
      assert.notEqual(done.stdout.trim(), "9", host.name);
    }
  });

  test("with the ports of its probes in the mesh a pod's other ports are refused", async () => {
    const named = meshText(cluster, state).replace(
      "serviceAccount: vault\n",
      `serviceAccount: vault\n  probePorts: [${HTTP}]\n`,
    );
    cluster.writeMesh(named);
    await until("the other port to be closed", 15_000, async () =>
      (await ask(kubelet, "tcp", pod("vault").ip4, TCP)) === "ECONNREFUSED" ? true : undefined,
    );
    assert.equal(await ask(kubelet, "http", pod("vault").ip4, HTTP), "200");
    assert.equal(await ask(kubelet, "tcp", pod("api").ip4, TCP), "answered");
    assert.match((await orlop("explain", "node", "demo/vault:8080")).stdout, /port 8080 is not a port of its probes/);
    cluster.writeMesh(meshText(cluster, state));
    await until("the port to be open again", 15_000, async () =>
      (await ask(kubelet, "tcp", pod("vault").ip4, TCP)) === "answered" ? true : undefined,
    );
  });

  test("a keeper that is killed, and the next, let the kubelet in all the while", async () => {
    const before = pidOf(node, "keeper");
    assert.ok(before !== undefined);
    process.kill(before, "SIGKILL");
    assert.equal(await ask(kubelet, "tcp", pod("vault").ip4, TCP), "answered");
    await until("the next keeper", 30_000, async () => {
      const now = pidOf(node, "keeper");
      return now !== undefined && now !== before && (await letIn()).length === 1 ? true : undefined;
    });
    assert.equal(await ask(kubelet, "tcp", pod("vault").ip6, TCP), "answered");
    assert.equal(await ask(kubelet, "http", pod("api").ip4, HTTP), "200");
  });

  test("while two may be the kubelet nobody is let in, and check names both", async () => {
    const second = await start("k3s", otherCgroup());
    await until("the second", 30_000, async () => ((await letIn()).length === 0 ? true : undefined));
    for (const from of [kubelet, second]) {
      assert.equal(await ask(from, "tcp", pod("vault").ip4, TCP), "ECONNREFUSED");
    }
    assert.match((await orlop("check")).stdout, /several may be the kubelet: kubelet \(pid \d+, .*k3s \(pid \d+, /);
    await second.stop();
    await until("one again", 15_000, async () => ((await letIn()).length === 1 ? true : undefined));
    assert.equal(await ask(kubelet, "tcp", pod("vault").ip4, TCP), "answered");
  });

  test("after the kubelet's end its cgroup lets nobody in; the next kubelet is found", async () => {
    assert.equal(await ask(neighbour, "tcp", pod("vault").ip4, TCP), "answered", "of the same cgroup");
    await kubelet.stop();
    await until("its end", 15_000, async () => ((await letIn()).length === 0 ? true : undefined));
    assert.equal(await ask(neighbour, "tcp", pod("vault").ip4, TCP), "ECONNREFUSED");
    kubelet = await start("kubelet", otherCgroup());
    const [found] = await until("the next", 15_000, async () => {
      const programs = await letIn();
      return programs.length > 0 ? programs : undefined;
    });
    assert.equal(found?.cgroup, otherCgroup());
    assert.equal(await ask(kubelet, "tcp", pod("vault").ip4, TCP), "answered");
    assert.equal(await ask(neighbour, "tcp", pod("vault").ip4, TCP), "ECONNREFUSED");
  });

  test("orlop run that is stopped leaves nothing on the kubelet's cgroup", async () => {
    const attached = (): unknown[] =>
      JSON.parse(
        execFileSync("/usr/sbin/bpftool", ["-j", "cgroup", "show", otherCgroup()], { encoding: "utf8" }).trim() || "[]",
      );
    assert.equal(attached().length, 3);
    const keeper = pidOf(node, "keeper");
    const [, parent] = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${keeper}/status`, "utf8")) ?? [];
    process.kill(Number(parent), "SIGTERM");
    await until("its programs to be gone", 30_000, () => (attached().length === 0 ? true : undefined));
    await until("the pod to answer as without a mesh", 15_000, async () =>
      (await ask(neighbour, "tcp", pod("vault").ip4, TCP)) === "answered" ? true : undefined,
    );
  });
});
