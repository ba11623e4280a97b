// Bad days of a node whose pods an API server names: many pods at once that are deleted while
// they are enrolled, labels that are put on and taken off without pause, an address that is another pod's at once, keeper or agent killed
// in the midst of an enrollment. Never a wrong identity, and nothing is left over. Here with few pods; `make soak` has the large counts.
//
// Each request at which keeper or agent may die is in agent/node/enrollment-deaths.test.ts; the node that starts again with an empty /run is a
// step of a model (test/model/steps-pods.ts, reboot).
import assert from "node:assert/strict";
import { randomInt, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { call, startChurn, startServers } from "../../demo/app/roles.ts";
import { startMesh, until, view } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Node } from "../box/cluster.ts";
import { type Running, tail } from "../box/process.ts";
import { type ApiChange, type ApiPod, ClusterApi, podObject, runningPod } from "../support/cluster-api.ts";
import { Dice } from "../support/dice.ts";
import {
  giveAddress,
  type Holdings,
  holdings,
  killPod,
  noMoreThan,
  podsEnded,
  programPid,
  type ShortPod,
  startPod,
  wirePod,
} from "../support/short-pods.ts";

const soaks = process.env.ORLOP_SOAK === "1";
const AT_ONCE = soaks ? 500 : 20;
const ROUNDS = soaks ? 20 : 2;
const FLIPS = soaks ? 100 : 25;
const REUSES = soaks ? 50 : 2;
const KILLS = soaks ? 10 : 1;
const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const ECHO = 8080;
const NODE = 1;
const dice = new Dice(SEED);

let cluster: Cluster;
let node: Node;
let api: ClusterApi;
let program: Running;
let resting: Holdings;

const ambient = { "orlop.dev/dataplane-mode": "ambient" };
const callers: ApiChange = {
  ...{ kind: "AuthorizationPolicy", namespace: "demo", name: "vault-callers" },
  body: {
    spec: {
      selector: { matchLabels: { app: "vault" } },
      rules: [{ from: [{ source: { principals: ["cluster.local/ns/demo/sa/friend"] } }] }],
    },
  },
};

before(async () => {
  const pods = ["web", "vault"].map((name) => ({ name, labels: { app: name } }));
  cluster = await createCluster({ nodes: [{ name: "node-a", pods }], nodeConfig: "  dataThreads: 1\n" });
  node = cluster.node("node-a");
  api = new ClusterApi(cluster, node);
  await api.start([
    { kind: "Namespace", namespace: "", name: "demo", body: { metadata: { labels: ambient } } },
    { kind: "PeerAuthentication", namespace: "demo", name: "all", body: { spec: { mtls: { mode: "STRICT" } } } },
    callers,
    ...node.pods.map((pod) => runningPod(pod, [pod.ip4, pod.ip6])),
  ]);
  const [programs] = await Promise.all([startMesh(cluster), startServers(cluster.pod("vault"))]);
  program = programs.get(node.name) ?? assert.fail();
  // What is made at its first use is there.
  const first = await comes("first", "friend", 1);
  await captured(3);
  await call(first.host, vault());
  await leaves([first]);
  resting = holdings(node);
});
after(() => cluster?.close());

const vault = () => ({ host: cluster.pod("vault").ip4, port: ECHO });

const isServed = (from: ShortPod): Promise<void> =>
  soon(`an answer for ${from.name}`, async () => (await call(from, vault())).reply?.pod === "vault");

type Guest = { readonly host: ShortPod; readonly api: ApiPod };

const apiPod = (
  { name, uid }: Pick<ShortPod, "name" | "uid">,
  account: string,
  labels: Readonly<Record<string, string>> = {},
): ApiPod => ({
  ...{ name, uid, node: node.name, serviceAccount: account },
  labels: { app: "guest", ...labels },
});

/** A pod that the API server binds, that begins, and that the API server then has with its address. */
async function comes(name: string, account: string, at: number): Promise<Guest> {
  const pod = apiPod({ name, uid: randomUUID() }, account);
  api.tell(podObject(pod, { phase: "Pending" }));
  await until(`the agent knows ${name}`, 20_000, async () =>
    (await view(node, "workloads")).items.some((item) => item.name === name) ? true : undefined,
  );
  const host = await startPod(node, name, `10.90.${NODE}.${100 + at}`, pod.uid);
  await wirePod(node, host, `g${at}`);
  await giveAddress(host, NODE);
  api.tell(runningPod(pod, [host.ip4]));
  return { host, api: pod };
}

const deleted = ({ name }: Pick<ApiPod, "name">): void =>
  api.tell({ kind: "Pod", namespace: "demo", name, body: null });

async function leaves(guests: readonly Guest[]): Promise<void> {
  for (const guest of guests) {
    deleted(guest.api);
    killPod(guest.host);
  }
  await podsEnded(guests.map(({ host }) => host));
  await captured(2);
}

/** What operators would see is part of the failure. */
async function soon(what: string, isSo: () => Promise<boolean>): Promise<void> {
  try {
    await until(what, 30_000, async () => ((await isSo()) ? true : undefined));
  } catch (error) {
    const { items } = await view(node, "workloads");
    const pods = items.map(({ name, uid, addresses, capture }) => `${name} ${uid} ${addresses} ${capture}`);
    const told = `ORLOP_SEED=${SEED}\n${pods.join("\n")}\n${tail(program.stderr, 3_000)}`;
    throw new Error(`${error instanceof Error ? error.message : error}\n${told}`);
  }
}

const captured = (count: number): Promise<void> =>
  soon(`${count} pods captured`, async () => {
    const { pods } = await view(node, "status");
    return pods.captured === count && pods.wanted === count;
  });

const isCaptured = (name: string): Promise<void> =>
  soon(`${name} captured`, async () => {
    const { items } = await view(node, "workloads");
    return items.some((item) => item.name === name && item.capture === "captured");
  });

/** The process is killed when the keeper logs this next. */
async function killedAt(pid: number, said: RegExp): Promise<void> {
  const from = program.stderr.length;
  const endMs = performance.now() + 30_000;
  while (!said.test(program.stderr.slice(from))) {
    assert.ok(performance.now() < endMs, `the keeper did not say ${said}`);
    await sleep(1);
  }
  process.kill(pid, "SIGKILL");
}

/** UIDs of the pods that the keeper guards wherever they appear, also after a reboot. */
function protectedPods(): readonly string[] {
  const text = readFileSync(path.join(`${node.stateDir}-keeper`, "protected-pods.json"), "utf8");
  const { pods } = JSON.parse(text) as { readonly pods: readonly { readonly uid: string }[] };
  return pods.map(({ uid }) => uid);
}

/** No descriptor, thread, namespace, link or entry of a map more than with the two pods that stay. */
async function nothingIsLeft(): Promise<void> {
  await captured(2);
  await noMoreThan(() => holdings(node), resting);
  await soon("the keeper protects two pods", async () => protectedPods().length === 2);
  await until("links and entries of two pods", 20_000, async () => {
    const links = await node.run(["sh", "-c", `ls ${node.bpffs}/orlop/*/v*/pods | wc -l`]);
    const { items } = await view(node, "bpf");
    const entries = (name: string): number => {
      const map = items.find((item) => item.type === "map" && item.name === name);
      return map?.type === "map" ? map.entries : Number.NaN;
    };
    const counts = [Number(links.stdout), entries("pod_by_netns"), entries("pod_by_ip")];
    return counts.join() === "2,2,4" && entries("inbound_socket") <= 12 ? true : undefined;
  });
}

/** What the keeper logs. A pod whose namespace is there when its guard is asked for is not said to be guarded. */
const said = {
  begins: /"message":"(a pod is guarded|captured)"/,
  captured: /"message":"captured"/,
  leaves: /"message":"released"/,
} as const;
const moments = [
  ["keeper", "begins"],
  ["agent", "captured"],
  ...(soaks
    ? ([
        ["agent", "begins"],
        ["keeper", "captured"],
        ["keeper", "leaves"],
        ["agent", "leaves"],
      ] as const)
    : []),
] as const;

describe(`bad days of a node (ORLOP_SEED=${SEED})`, () => {
  test(`${ROUNDS} times ${AT_ONCE} pods at once, deleted while they are enrolled: nothing of them is left`, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const ending = Array.from({ length: AT_ONCE }, async (_, at) => {
        const host = await startPod(node, `crowd-${round}-${at}`, `10.91.${at >> 8}.${at & 255}`);
        const pod = apiPod(host, `account-${at % 5}`);
        const steps = [
          () => api.tell(podObject(pod, { phase: "Pending" })),
          () => giveAddress(host),
          () => api.tell(runningPod(pod, [host.ip4])),
          () => sleep(dice.roll(600)),
        ];
        // It may end after each of these, by its process first or by the API server first.
        for (const step of steps.slice(0, dice.roll(steps.length + 1))) {
          await step();
          await sleep(dice.roll(40));
        }
        const ends = [() => deleted(pod), () => killPod(host)];
        for (const end of dice.chance(50) ? ends : ends.toReversed()) {
          end();
          await sleep(dice.roll(40));
        }
        return host;
      });
      await podsEnded(await Promise.all(ending));
    }
    await nothingIsLeft();
  });

  test(`the label is put on and taken off ${FLIPS} times without pause: the last word holds, and nothing is left`, async () => {
    const guest = await comes("flips", "friend", 2);
    const label = (isOn: boolean): void => {
      const labels = isOn ? {} : { "orlop.dev/dataplane-mode": "none" };
      api.tell(runningPod(apiPod(guest.host, "friend", labels), [guest.host.ip4]));
    };
    const { agent, keeper } = { agent: programPid(node, "agent"), keeper: programPid(node, "keeper") };
    for (let flip = 0; flip < FLIPS; flip += 1) {
      label(flip % 2 === 1);
      await sleep(dice.pick([0, 1, 5, 40]));
    }
    label(true);
    await captured(3);
    await isServed(guest.host);
    label(false);
    await captured(2);
    await until("out of the mesh, refused by STRICT", 20_000, async () => {
      return (await call(guest.host, vault())).error === undefined ? undefined : true;
    });
    assert.deepEqual({ agent: programPid(node, "agent"), keeper: programPid(node, "keeper") }, { agent, keeper });
    await leaves([guest]);
    await nothingIsLeft();
  });

  test(`an address is another pod's in the moment its pod ends, ${REUSES} times: no answer for the other`, async () => {
    for (let turn = 0; turn < REUSES; turn += 1) {
      const friend = await comes(`friend-${turn}`, "friend", 3);
      const stranger = await startPod(node, `stranger-${turn}`, friend.host.ip4);
      await wirePod(node, stranger, `s${turn}`);
      const strange = apiPod(stranger, "stranger");
      const tries = startChurn(stranger, vault(), 2, "hello");
      await isCaptured(`friend-${turn}`);
      await isServed(friend.host);
      killPod(friend.host);
      await giveAddress(stranger, NODE);
      const news = [
        () => api.tell(podObject(strange, { phase: "Pending" })),
        () => api.tell(runningPod(strange, [stranger.ip4])),
        () => deleted(friend.api),
      ];
      for (const say of dice.pick([news, news.toReversed(), [...news.slice(2), ...news.slice(0, 2)]])) {
        say();
        await sleep(dice.roll(100));
      }
      // The last word about the stranger is that it runs.
      api.tell(runningPod(strange, [stranger.ip4]));
      await isCaptured(`stranger-${turn}`);
      await sleep(100);
      const { answered, attempted } = await tries.finish();
      assert.equal(answered, 0, `of ${attempted}`);
      assert.ok(attempted > 0, "too tame");
      await podsEnded([friend.host]);
      await leaves([{ host: stranger, api: strange }]);
    }
    await nothingIsLeft();
  });

  test("keeper or agent is killed in the midst of an enrollment: the pod is served in the end, and nothing is left", async () => {
    for (let round = 0; round < KILLS; round += 1) {
      for (const [victim, step] of moments) {
        const pid = programPid(node, victim);
        const dies = killedAt(pid, said[step]);
        const guest = await comes(`${victim}-dies-${step}-${round}`, "friend", 4);
        if (step !== "leaves") {
          await dies;
          await until(`the next ${victim}`, 30_000, () => (programPid(node, victim) !== pid ? true : undefined));
          await captured(3);
          await isServed(guest.host);
          await leaves([guest]);
        } else {
          await captured(3);
          deleted(guest.api);
          await dies;
          killPod(guest.host);
          await podsEnded([guest.host]);
          await until(`the next ${victim}`, 30_000, () => (programPid(node, victim) !== pid ? true : undefined));
        }
        // Of the program that was killed, and of the other that lives on.
        await nothingIsLeft();
      }
    }
  });
});
