// Addresses of a pod that its Workload does not list, a second interface or docker in docker: judged as those that it lists.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { call } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { pidOf, readiness, until } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, Host } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

/** Both pods have them, as two pods with docker in docker would. */
const [second4, second6] = ["172.17.0.1", "fd17::1"];
const PORT = 8080;

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
  const { cluster } = journey;
  for (const name of ["vault", "api"]) {
    const pod = cluster.pod(name);
    await ran(pod, "ip", "link", "add", "docker0", "type", "veth", "peer", "name", "docker1");
    for (const device of ["docker0", "docker1"]) await ran(pod, "ip", "link", "set", device, "up");
    await ran(pod, "ip", "address", "add", `${second4}/32`, "dev", "docker0");
    await ran(pod, "ip", "-6", "address", "add", `${second6}/128`, "dev", "docker0", "nodad");
  }
});
after(() => journey?.close());

async function ran(host: Host, ...argv: readonly string[]): Promise<void> {
  const done = await host.run(argv);
  assert.equal(done.status, 0, `${argv.join(" ")}: ${done.stderr}`);
}

/** The way from the outside host to these addresses leads to one pod. */
async function leadTo(pod: Host): Promise<void> {
  const { cluster } = journey;
  const node = cluster.node("node-b");
  for (const [from, next] of [
    [cluster.outside, node],
    [node, pod],
  ] as const) {
    await ran(from, "ip", "route", "replace", `${second4}/32`, "via", next.ip4);
    await ran(from, "ip", "-6", "route", "replace", `${second6}/128`, "via", next.ip6);
  }
}

const policy = (action: string, from: string): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: unlisted, namespace: demo}
spec:
  selector: {matchLabels: {app: vault}}
  action: ${action}
  rules: [{from: [{source: {ipBlocks: [${from}]}}]}]
`;
/** Without what the demo says of vault. */
const permissive = (text: string): string =>
  text
    .split("---\n")
    .filter((document) => !/name: vault-(strict|callers)/.test(document))
    .join("---\n");
const meshOf = (cluster: Cluster): string => meshText(cluster, initialState);

describe("a pod with addresses that its Workload does not list", () => {
  test("STRICT refuses plaintext at them", async () => {
    const { cluster } = journey;
    await leadTo(cluster.pod("vault"));
    for (const host of [second4, second6, cluster.pod("vault").ip4])
      assert.equal((await call(cluster.outside, { host, port: PORT })).error, "ECONNREFUSED", host);
  });

  test("a policy decides there: the agent takes the connection, and the application sees the client", async () => {
    const { cluster } = journey;
    const { outside } = cluster;
    await leadTo(cluster.pod("vault"));
    cluster.writeMesh(permissive(meshOf(cluster)) + policy("ALLOW", `${outside.ip4}/32, "${outside.ip6}/128"`));
    for (const [host, own] of [
      [second4, outside.ip4],
      [second6, outside.ip6],
    ] as const) {
      const reply = await until(
        `an answer from ${host}`,
        30_000,
        async () => (await call(outside, { host, port: PORT })).reply,
      );
      assert.equal(reply.pod, "vault");
      assert.ok(reply.peer.includes(own), `${host}: ${reply.peer}`);
    }
    cluster.writeMesh(permissive(meshOf(cluster)) + policy("DENY", `${outside.ip4}/32, "${outside.ip6}/128"`));
    for (const host of [second4, second6]) {
      await until(`${host} to be refused`, 30_000, async () =>
        (await call(outside, { host, port: PORT })).reply === undefined ? true : undefined,
      );
    }
  });

  test("without STRICT and policies they are passed", async () => {
    const { cluster } = journey;
    cluster.writeMesh(permissive(meshOf(cluster)));
    await leadTo(cluster.pod("vault"));
    for (const host of [second4, second6]) {
      const reply = await until(
        `an answer from ${host}`,
        30_000,
        async () => (await call(cluster.outside, { host, port: PORT })).reply,
      );
      assert.equal(reply.pod, "vault");
    }
  });

  test("its link-local address: passed without a policy, refused with one and under STRICT, and never held", async () => {
    const { cluster } = journey;
    const [vault, node] = [cluster.pod("vault"), cluster.node("node-b")];
    const shown = await vault.run(["ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "link"]);
    const host = `${/fe80::[0-9a-f:]+/.exec(shown.stdout)?.[0]}%pods`;
    const answers = async (): Promise<boolean> => {
      const { reply, error } = await call(node, { host, port: PORT });
      assert.ok(reply !== undefined || /^ECONN(REFUSED|RESET)$/.test(error ?? ""), error);
      return reply !== undefined;
    };
    const meshes: readonly (readonly [text: string, answered: boolean])[] = [
      [permissive(meshOf(cluster)), true],
      // Everybody may, but the agent, which has to judge, cannot dial a link-local address.
      [permissive(meshOf(cluster)) + policy("ALLOW", '"::/0"'), false],
      [permissive(meshOf(cluster)), true],
      [meshOf(cluster), false],
    ];
    for (const [text, answered] of meshes) {
      cluster.writeMesh(text);
      await until(`vault to ${answered ? "answer" : "refuse"}`, 30_000, async () =>
        (await answers()) === answered ? true : undefined,
      );
    }
  });

  test("judged through the death of agent and keeper, and by their successors", async () => {
    const { cluster } = journey;
    const node = cluster.node("node-b");
    const answers = async (): Promise<boolean> =>
      (await call(cluster.outside, { host: second4, port: PORT })).reply !== undefined;
    await leadTo(cluster.pod("vault"));
    cluster.writeMesh(permissive(meshOf(cluster)));
    await until("vault to answer", 30_000, async () => ((await answers()) ? true : undefined));
    const pids = (["agent", "keeper"] as const).map((program) => pidOf(node, program) ?? assert.fail(program));
    for (const pid of pids) process.kill(pid, "SIGKILL");
    assert.ok(await answers(), "nobody is there, and nobody is needed");
    await until("their successors", 30_000, async () =>
      (await readiness(node)) === "ready" && !pids.includes(pidOf(node, "agent") ?? 0) ? true : undefined,
    );
    assert.ok(await answers());
    cluster.writeMesh(meshOf(cluster));
    await until("vault to refuse", 30_000, async () => ((await answers()) ? undefined : true));
  });

  test("of two pods with the same address each is judged as itself", async () => {
    const { cluster } = journey;
    cluster.writeMesh(meshOf(cluster));
    await leadTo(cluster.pod("api"));
    const reply = await until(
      "an answer from api",
      30_000,
      async () => (await call(cluster.outside, { host: second4, port: PORT })).reply,
    );
    assert.equal(reply.pod, "api");
    await leadTo(cluster.pod("vault"));
    assert.equal((await call(cluster.outside, { host: second4, port: PORT })).error, "ECONNREFUSED");
  });
});
