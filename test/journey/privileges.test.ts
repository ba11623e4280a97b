// What parses hostile bytes may do nothing else: read from /proc while it serves.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setOf } from "../../agent/process/libc.ts";
import { keeperLives, keeperStarts } from "../../agent/process/privileges.ts";
import { call } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { pidOf, until } from "../../demo/mesh/mesh-run.ts";
import { AGENT_UID } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
  const served = await call(journey.cluster.pod("web"), { host: journey.cluster.pod("vault").ip4, port: 8080 });
  assert.equal(served.reply?.pod, "vault", JSON.stringify(served));
});
after(() => journey?.close());

function pid(node: string, program: "agent" | "keeper"): number {
  const found = pidOf(journey.cluster.node(node), program);
  assert.ok(found !== undefined, `no ${program} on ${node}`);
  return found;
}

/** `Name: value` lines of /proc/<pid>/task/<tid>/status, for every thread. */
function threads(of: number): ReadonlyMap<string, string>[] {
  return readdirSync(`/proc/${of}/task`).flatMap((thread) => {
    let text: string;
    try {
      text = readFileSync(`/proc/${of}/task/${thread}/status`, "utf8");
    } catch {
      return []; // It has ended while we looked.
    }
    return [
      new Map(text.split("\n").map((line) => [line.split(":")[0] ?? "", line.slice(line.indexOf(":") + 1).trim()])),
    ];
  });
}

const nodes = ["node-a", "node-b"];

describe("the agent", () => {
  test("is not root, in any thread", () => {
    for (const node of nodes) {
      for (const thread of threads(pid(node, "agent"))) {
        assert.deepEqual(thread.get("Uid")?.split("\t"), Array(4).fill(String(AGENT_UID)), thread.get("Name"));
        assert.deepEqual(thread.get("Gid")?.split("\t"), Array(4).fill(String(AGENT_UID)), thread.get("Name"));
        assert.equal(thread.get("Groups"), "", thread.get("Name"));
      }
    }
  });
  test("has no capability and cannot gain one, in any thread", () => {
    for (const node of nodes) {
      for (const thread of threads(pid(node, "agent"))) {
        for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) {
          assert.equal(Number.parseInt(thread.get(set) ?? "", 16), 0, `${thread.get("Name")} ${set}`);
        }
        assert.equal(thread.get("NoNewPrivs"), "1", thread.get("Name"));
      }
    }
  });
  test("has loaded the engine and nothing that loads eBPF", () => {
    const maps = readFileSync(`/proc/${pid("node-a", "agent")}/maps`, "utf8");
    assert.match(maps, /engine\.node/);
    assert.doesNotMatch(maps, /keeper\.node|libbpf/);
  });
  test("leaves no core and no readable memory behind", () => {
    assert.match(readFileSync(`/proc/${pid("node-a", "agent")}/limits`, "utf8"), /^Max core file size +0 +0 /m);
  });
});

describe("the keeper", () => {
  const lives = setOf(keeperLives);
  /** Helper threads of Node, which run none of our code, keep what it took to read it. */
  const starts = setOf(keeperStarts);
  const sets = (thread: ReadonlyMap<string, string>): bigint[] =>
    ["CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"].map((name) => BigInt(`0x${thread.get(name)}`));

  test("holds the capabilities it works with, no others, and cannot gain one", () => {
    for (const node of nodes) {
      for (const thread of threads(pid(node, "keeper"))) {
        const name = thread.get("Name");
        // Node starts the threads that write files when the first file is written, after the keeper has given up the rest.
        const ours = thread.get("Pid") === thread.get("Tgid") || name === "orlop-pods" || name === "libuv-worker";
        const held = ours ? lives : starts;
        assert.deepEqual(sets(thread), [held, held, 0n, 0n, starts], `${node} ${name}`);
        assert.equal(thread.get("NoNewPrivs"), "1", name);
      }
    }
  });
  test("is of the agent's group, so that its socket is; and nobody else may write beside it", () => {
    const directory = `${journey.cluster.node("node-a").runDir}-keeper`;
    const { uid, gid, mode } = statSync(`${directory}/keeper.sock`);
    assert.deepEqual([uid, gid, mode & 0o777], [0, AGENT_UID, 0o660]);
    const parent = statSync(directory);
    assert.deepEqual([parent.uid, parent.mode & 0o022], [0, 0]);
  });
  test("turns away a pod's program that has the agent's user, and says so", async () => {
    const socket = `${journey.cluster.node("node-a").runDir}-keeper/keeper.sock`;
    const program = `
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("${socket}")
try: print("heard" if s.recv(1) else "turned away")
except OSError: print("turned away")`;
    const user = ["setpriv", `--reuid=${AGENT_UID}`, `--regid=${AGENT_UID}`, "--clear-groups", "--inh-caps=-all"];
    const { cluster, programs } = journey;
    const done = await cluster.pod("web").run([...user, "/usr/bin/python3", "-c", program]);
    assert.equal(done.stdout.trim(), "turned away", done.stderr);
    const said = () => programs.get("node-a")?.stderr.split("\n").slice(0, -1) ?? [];
    const line = await until("the keeper's line", 10_000, () => said().find((text) => text.includes("turned away")));
    const { why, uid, cgroup } = JSON.parse(line);
    assert.deepEqual([why, uid], ["it is in a container that was not given the keeper's directory", AGENT_UID]);
    assert.ok(cgroup.includes(cluster.pod("web").uid.replaceAll("-", "_")) || cgroup.includes(cluster.pod("web").uid));
  });
  test("has loaded nothing that parses a peer's bytes", () => {
    const maps = readFileSync(`/proc/${pid("node-a", "keeper")}/maps`, "utf8");
    assert.match(maps, /keeper\.node/);
    assert.doesNotMatch(maps, /engine\.node/);
  });
});
