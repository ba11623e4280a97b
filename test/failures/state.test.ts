// Tables F and G of docs/reference/failures.md, on a whole mesh: pods that come and go (F7), a keeper that is killed (F3), a mesh file that is gone
// when the agent restarts (G3), an end that leaves nothing (F4).
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { pidOf, readiness, until, view } from "../../demo/mesh/mesh-run.ts";
import { asCaptured, startCapture } from "../../demo/wire/capture.ts";
import { readWire } from "../../demo/wire/wire.ts";
import type { Node } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import {
  giveAddress,
  holdings,
  killPod,
  noMoreThan,
  podsEnded,
  programPid,
  type ShortPod,
  startPod,
} from "../support/short-pods.ts";

const ECHO = 8080;
let journey: Journey;
let good: string;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
  good = meshText(journey.cluster, initialState);
});
after(() => journey?.close());

const toVault = (said = "hello") =>
  call(journey.cluster.pod("web"), { host: journey.cluster.pod("vault").ip4, port: ECHO }, said);
const vaultAnswers = (): Promise<true> =>
  until("an answer of vault", 30_000, async () => ((await toVault()).reply?.pod === "vault" ? true : undefined));

const workloadOf = ({ uid, ip4 }: ShortPod, node: Node): string => `---
apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: p${ip4.split(".").at(-1)}, namespace: demo, uid: ${uid}}
spec:
  addresses: ["${ip4}"]
  node: ${node.name}
  serviceAccount: short-lived
`;

test("F7 a hundred pods come and go: no descriptor, thread, namespace or rule more than before", async (t) => {
  const { cluster } = journey;
  const node = cluster.node("node-a");
  const pids = { keeper: programPid(node, "keeper"), agent: programPid(node, "agent") };
  const round = async (first: number): Promise<void> => {
    const pods = await Promise.all(
      Array.from({ length: 10 }, async (_, at) => {
        const pod = await startPod(node, `pod ${first + at}`, `10.91.0.${first + at}`);
        await giveAddress(pod);
        return pod;
      }),
    );
    cluster.writeMesh(good + pods.map((pod) => workloadOf(pod, node)).join(""));
    await until("ten more captured", 30_000, async () =>
      (await view(node, "status")).pods.captured === 13 ? true : undefined,
    );
    // Half of them are taken from the mesh first, half die as members of it.
    if (first % 20 === 0) cluster.writeMesh(good);
    for (const pod of pods) killPod(pod);
    await podsEnded(pods);
    cluster.writeMesh(good);
    await until("three captured", 30_000, async () => {
      const { captured, wanted } = (await view(node, "status")).pods;
      return captured === 3 && wanted === 3 ? true : undefined;
    });
  };
  await round(10);
  await vaultAnswers();
  const before = holdings(node);
  for (let first = 20; first < 110; first += 10) await round(first);
  await vaultAnswers();
  const now = await noMoreThan(() => holdings(node), before);
  t.diagnostic(JSON.stringify(now));
  const { items } = await view(node, "bpf");
  for (const item of items) {
    if (item.type === "map" && ["pod_by_netns", "pod_by_ip"].includes(item.name))
      assert.ok(item.entries <= 6, item.name);
  }
  assert.deepEqual(pids, { keeper: pidOf(node, "keeper"), agent: pidOf(node, "agent") });
});

test("F3 the keeper is killed and comes back: nothing in the clear, a live connection lives, new ones are served", async () => {
  const { cluster } = journey;
  const node = cluster.node("node-a");
  const addresses = new Set(["web", "vault"].flatMap((name) => [asCaptured(cluster.pod(name).ip4)]));
  const pinger = await startPing(cluster.pod("web"), { host: cluster.pod("vault").ip4, port: ECHO }, 10, "F3 secret");
  const capture = await startCapture(cluster);
  for (let time = 0; time < 3; time += 1) {
    const pid = programPid(node, "keeper");
    process.kill(pid, "SIGKILL");
    await until("another keeper", 15_000, () => {
      const other = pidOf(node, "keeper");
      return other !== undefined && other !== pid ? true : undefined;
    });
    await toVault("F3 secret");
    await until("the agent has it", 15_000, async () =>
      (await view(node, "status")).keeper.connected && (await readiness(node)) === "ready" ? true : undefined,
    );
    await vaultAnswers();
  }
  await pinger.finish();
  readWire(await capture.stop(), addresses, ["F3 secret"]);
});

test("G3 the agent restarts on a broken file: with the last good copy it serves; without it STRICT waits or is refused, and nothing leaves in the clear", async () => {
  const { cluster } = journey;
  const node = cluster.node("node-a");
  const lastGood = path.join(node.stateDir, "last-good.json");
  assert.ok(readFileSync(lastGood, "utf8").includes("mesh.yaml"));
  const restart = async (): Promise<void> => {
    const pid = programPid(node, "agent");
    process.kill(pid, "SIGKILL");
    await until("another agent", 15_000, () => {
      const other = pidOf(node, "agent");
      return other !== undefined && other !== pid ? true : undefined;
    });
  };
  const addresses = new Set(["web", "vault"].flatMap((name) => [asCaptured(cluster.pod(name).ip4)]));
  const capture = await startCapture(cluster);
  cluster.writeMesh(`${good}\n}{`);
  await restart();
  await vaultAnswers();
  const status = await view(node, "status");
  assert.equal(status.source.state, "rejected");
  assert.equal(status.source.fromLastGood, true);

  rmSync(lastGood);
  await restart();
  // Refused once the heartbeat of the last agent is old; before that a call waits.
  const seen: (string | undefined)[] = [];
  await until("a refusal", 30_000, async () => {
    const { reply, error } = await toVault("G3 secret");
    assert.equal(reply, undefined, "answered, and no agent knew the mesh");
    seen.push(error);
    return error === "ECONNREFUSED" ? true : undefined;
  });
  assert.notEqual(await readiness(node), "ready", "without a mesh it is not ready");
  cluster.writeMesh(good);
  await vaultAnswers();
  readWire(await capture.stop(), addresses, ["G3 secret"]);
});

test("F4 `orlop run` is told to end: no listener, rule, pin or socket stays, and the pods talk as if it had never been", async () => {
  const { cluster } = journey;
  const node = cluster.node("node-b");
  const done = await journey.programs.get(node.name)?.stop(30_000);
  assert.equal(done?.status, 0, done?.stderr.slice(-1_000));
  assert.equal(pidOf(node, "agent"), undefined);
  assert.equal(pidOf(node, "keeper"), undefined);
  for (const name of ["api", "vault"]) {
    const pod = cluster.pod(name);
    const { stdout: listening } = await pod.run(["ss", "-Hltn"]);
    assert.doesNotMatch(listening, /:150(01|06|08)\b/, name);
    for (const family of ["-4", "-6"]) {
      const { stdout: rules } = await pod.run(["ip", family, "rule"]);
      assert.doesNotMatch(rules, /fwmark/, name);
    }
  }
  const { stdout: pins } = await node.run(["ls", "-A", "--ignore=*.debug", node.bpffs]);
  assert.equal(pins.trim(), "");
  const direct = await call(cluster.pod("legacy"), { host: cluster.pod("vault").ip4, port: ECHO });
  assert.equal(direct.reply?.pod, "vault", JSON.stringify(direct));
  const between = await call(cluster.pod("api"), { host: cluster.pod("vault").ip6, port: ECHO });
  assert.equal(between.reply?.pod, "vault", JSON.stringify(between));
});
