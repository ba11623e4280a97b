// The CLI as its users run it, against the agents of a running mesh: what it shows is what is there, and its exit status
// says so.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { exits } from "../../agent/cli/output.ts";
import { call, type Pinger, startPing } from "../../demo/app/roles.ts";
import { apiService, demoNodes, identityOf, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until, view } from "../../demo/mesh/mesh-run.ts";
import type { Node } from "../box/cluster.ts";
import type { Finished } from "../box/process.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

let journey: Journey;
let pinger: Pinger;
let a: Node;
let b: Node;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
  [a, b] = [journey.cluster.node("node-a"), journey.cluster.node("node-b")];
  pinger = await startPing(journey.cluster.pod("web"), { host: journey.cluster.pod("vault").ip4, port: 8080 }, 50);
});
after(() => journey?.close());

const orlop = (node: Node, ...args: string[]): Promise<Finished> =>
  node.orlop([...args, "--socket", `${node.runDir}/agent.sock`]).wait(20_000);

/** Runs it as JSON and checks the status. */
async function json(node: Node, args: readonly string[], status: number = exits.ok): Promise<Record<string, unknown>> {
  const done = await orlop(node, ...args, "-o", "json");
  assert.equal(done.status, status, `${args.join(" ")}: ${done.stdout}${done.stderr}`);
  return JSON.parse(done.stdout) as Record<string, unknown>;
}
const itemsOf = (list: Record<string, unknown>): Record<string, unknown>[] => list.items as Record<string, unknown>[];

describe("orlop status", () => {
  test("one line for the node, and all is well", async () => {
    const done = await orlop(a, "status");
    assert.equal(done.status, exits.ok, done.stderr);
    assert.match(done.stdout, /node-a/);
    const status = await json(a, ["status"]);
    assert.deepEqual(status.pods, { captured: 3, wanted: 3 });
    assert.equal((status.source as { state: string }).state, "synced");
    assert.equal((await orlop(a, "status", "-o", "name")).stdout, "node/node-a\n");
  });

  test("a broken file: its place, what and why; the status is 79; what ran runs on", async () => {
    const good = meshText(journey.cluster, initialState);
    journey.cluster.writeMesh(good.replace("action: DENY", "action: DENY\n  severity: high"));
    const lines = good.split("\n").findIndex((line) => line.includes("action: DENY")) + 2;
    const done = await until("a rejected file", 15_000, async () => {
      const shown = await orlop(a, "status");
      return shown.status === exits.findings ? shown : undefined;
    });
    assert.match(done.stdout, new RegExp(`mesh\\.yaml:${lines}:3: .*severity.*ORL\\d{4}\\n +why: .+\\n +do: +.+`));
    assert.match(done.stdout, /what was accepted before runs on/);
    const policies = itemsOf(await json(a, ["get", "policies"]));
    assert.ok(policies.some(({ name, action }) => name === "no-batch" && action === "DENY"));
    const denied = await call(journey.cluster.pod("batch"), { host: journey.cluster.pod("api").ip4, port: 8080 });
    assert.equal(denied.reply, undefined);
    journey.cluster.writeMesh(good);
    await until("a mended file", 15_000, async () =>
      (await orlop(a, "status")).status === exits.ok ? true : undefined,
    );
  });

  test("no agent: a status of its own, and what to do", async () => {
    const done = await a.orlop(["status", "--socket", `${a.runDir}/nobody.sock`]).wait(20_000);
    assert.equal(done.status, exits.unreachable, done.stderr);
    assert.match(done.stderr, /why: .+\n +do: +.+/);
  });
});

describe("orlop get", () => {
  test("workloads: all six from either node, captured where they live", async () => {
    for (const node of [a, b]) {
      const all = itemsOf(await json(node, ["get", "workloads"]));
      assert.equal(all.length, 6);
      for (const item of all) {
        const here = journey.cluster.pod(String(item.name)).node === node.name;
        const state = item.name === "legacy" ? "not-enrolled" : "captured";
        assert.equal(item.capture, here ? state : "remote", JSON.stringify(item));
      }
    }
    const names = await orlop(a, "get", "pods", "-l", "app=web", "-o", "name");
    assert.equal(names.stdout, "workload/web\n");
    const table = (await orlop(a, "get", "workloads")).stdout.split("\n");
    assert.match(table[0] ?? "", /NAME/);
    assert.equal(table.filter((line) => /\bdemo\b/.test(line)).length, 6);
    const bare = await orlop(a, "get", "workloads", "--no-headers", "-n", "demo");
    assert.doesNotMatch(bare.stdout, /NAME/);
    assert.equal((await orlop(a, "get", "workloads", "nobody")).status, exits.failed);
    assert.equal((await orlop(a, "get", "spoons")).status, exits.usage);
  });

  test("services, policies, certs", async () => {
    const [service] = itemsOf(await json(a, ["get", "services"]));
    assert.equal(service?.name, "api");
    assert.deepEqual(service?.vips, [apiService.ip4, apiService.ip6]);
    const policies = itemsOf(await json(b, ["get", "policies"])).map(({ name }) => name);
    assert.deepEqual(policies.toSorted(), ["no-batch", "vault-callers", "vault-strict"]);
    const certs = itemsOf(await json(b, ["get", "certs"]));
    assert.deepEqual(certs.map(({ identity }) => identity).toSorted(), [identityOf("api"), identityOf("vault")]);
    assert.ok(certs.every(({ state }) => state === "ready"));
  });

  test("connections: the live one, from both ends", async () => {
    for (const [node, reporter] of [
      [a, "source"],
      [b, "destination"],
    ] as const) {
      const found = await until(`the connection on ${node.name}`, 10_000, async () =>
        itemsOf(await json(node, ["get", "connections"])).find((item) => item.reporter === reporter),
      );
      assert.equal(found.sourceIdentity, identityOf("web"));
      assert.equal(found.destinationIdentity, identityOf("vault"));
      assert.equal(found.security, "mtls");
      assert.ok(Number(found.rttMs) > 0, "of the tunnel");
      assert.ok(Number.isInteger(found.retransmits));
    }
  });

  test("bpf: programs that are pinned, maps with their fill, counters", async () => {
    const items = itemsOf(await json(a, ["get", "bpf"]));
    const of = (type: string) => items.filter((item) => item.type === type);
    assert.ok(of("program").some(({ name }) => String(name).includes("connect4")));
    const pods = of("map").find(({ name }) => name === "pod_by_netns");
    assert.equal(pods?.entries, 3);
    assert.ok(of("counter").length > 0);
  });

  test("YAML and NO_COLOR: the same, and no escape", async () => {
    const done = await orlop(a, "get", "services", "-o", "yaml");
    assert.match(done.stdout, /^kind: ServiceList$/m);
    for (const args of [["status"], ["get", "workloads"], ["check"]]) {
      const shown = await orlop(a, ...args);
      assert.equal(shown.stdout.includes("\u001b"), false);
    }
    assert.equal((await orlop(a, "get", "workloads", "--color", "always")).stdout.includes("\u001b"), true);
  });
});

describe("orlop describe and explain", () => {
  test("a pod, a service and a policy with what bears on them", async () => {
    const pod = await orlop(b, "describe", "pod/vault");
    assert.equal(pod.status, exits.ok, pod.stderr);
    assert.match(pod.stdout, /spiffe:\/\/cluster\.local\/ns\/demo\/sa\/vault/);
    assert.match(pod.stdout, /STRICT/);
    assert.match(pod.stdout, /vault-callers/);
    assert.match((await orlop(b, "describe", "svc/api")).stdout, /10\.96\.0\.1/);
    assert.match((await orlop(b, "describe", "policy/no-batch")).stdout, /DENY/);
    assert.equal((await orlop(b, "describe", "pod/nobody")).status, exits.failed);
  });

  test("explain names the rule, its line and the nearest miss, and `--expect` makes it a check", async () => {
    const allowed = await orlop(a, "explain", "demo/web", "demo/vault:8080", "--expect", "allow");
    assert.equal(allowed.status, exits.ok, allowed.stdout + allowed.stderr);
    assert.match(allowed.stdout, /^ALLOW/);
    const denied = await orlop(a, "explain", "demo/batch", "demo/api:80", "--expect", "deny");
    assert.equal(denied.status, exits.ok, denied.stdout + denied.stderr);
    const line = meshText(journey.cluster, initialState)
      .split("\n")
      .findIndex((text) => text.includes("sa/batch"));
    assert.match(denied.stdout, new RegExp(`demo/no-batch\\[0\\] at .*mesh\\.yaml:${line + 1}`));
    const wrong = await orlop(a, "explain", "demo/batch", "demo/vault:8080", "--expect", "allow");
    assert.equal(wrong.status, exits.findings);
    assert.match(wrong.stdout, /nearest miss: .*demo\/vault-callers\[0\]/);
    assert.match(wrong.stderr, /expected allow, and it is deny/);
    const told = await json(a, ["explain", "demo/batch", "demo/api:80"]);
    assert.equal(told.verdict, "deny");
    // What it says happens.
    const real = await call(journey.cluster.pod("batch"), { host: journey.cluster.pod("api").ip4, port: 8080 });
    assert.equal(real.reply, undefined);
    assert.equal((await orlop(a, "explain", "demo/nobody", "demo/api:80")).status === exits.ok, false);
  });
});

describe("orlop check, log, dump, version, completion", () => {
  test("check: this node carries the mesh", async () => {
    const done = await orlop(a, "check", "--bpffs", a.bpffs, "--pods-cgroup", a.podsCgroup);
    assert.equal(done.status, exits.ok, done.stdout + done.stderr);
  });

  test("log set lasts as long as it says, and only root may", async () => {
    const set = await orlop(a, "log", "set", "policy=debug", "--for", "10m");
    assert.equal(set.status, exits.ok, set.stderr);
    assert.match(set.stdout, /^policy debug until \d{4}-/);
    const levels = itemsOf(await json(a, ["log", "get"]));
    assert.equal(levels.find(({ room }) => room === "policy")?.level, "debug");
    assert.notEqual((await orlop(a, "log", "set", "spoon=debug")).status, exits.ok);
    assert.equal((await orlop(a, "log", "set", "policy=debug", "--for", "2y")).status, exits.usage);
    const socket = `${a.runDir}/agent.sock`;
    const nobody = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"];
    const program = `const r = require("http").get({socketPath: ${JSON.stringify(socket)}, path: "/v1/status"}, (m) => { console.log(m.statusCode); });
      r.on("error", (e) => console.log(e.code));`;
    const refused = await a.run([...nobody, process.execPath, "-e", program]);
    assert.match(refused.stdout, /403|EACCES/, refused.stderr);
  });

  test("a dump answers as the agent did", async () => {
    const done = await orlop(a, "dump");
    assert.equal(done.status, exits.ok);
    const dump = JSON.parse(done.stdout) as Record<string, unknown>;
    assert.equal(dump.kind, "Dump");
    assert.doesNotMatch(done.stdout, /PRIVATE KEY/);
    assert.equal((await view(a, "status")).node, (dump.status as { node: string }).node);
  });

  test("version: client and agent fit; completion for three shells", async () => {
    const version = await json(a, ["version"]);
    assert.equal((version.agents as { skew: string }[])[0]?.skew, "ok");
    for (const shell of ["bash", "zsh", "fish"]) {
      const done = await a.orlop(["completion", shell]).wait(20_000);
      assert.equal(done.status, exits.ok);
      assert.match(done.stdout, /orlop/);
    }
    const script = (await a.orlop(["completion", "bash"]).wait(20_000)).stdout;
    const read = await a.run(["bash", "-nc", script]);
    assert.equal(read.status, 0, read.stderr);
    assert.equal((await a.orlop(["completion", "tcsh"]).wait(20_000)).status, exits.usage);
  });

  test("the long-lived connection lived through all of it", async () => {
    const { replies } = await pinger.finish();
    assert.ok(replies > 0);
  });
});
