// Expected pods against real cgroups, sockets and packets (root, Python): an application that listens and dials with its first instructions, while the
// keeper is killed and pods turn out not to be ours, sends nothing before its pod is captured or released, and nothing stays.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PendingNode } from "./pending-node.ts";

const STARTS = Number(process.env.ORLOP_PENDING_STARTS ?? (process.env.ORLOP_SOAK ? 600 : 100));
const AT_ONCE = 6;
/** The keeper is killed while these begin. */
const KILLS = 3;
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));

/** xorshift32 */
function draws(from: number): () => number {
  let state = from | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const node = new PendingNode(STARTS);
before(() => node.start());
after(() => node.stop());

type Fate = "captured" | "released" | "removed";

test(`of ${STARTS} expected pods none sends or hears anything before its capture, and what is none of ours is let go`, async () => {
  console.log(`seed ${seed}`);
  const draw = draws(seed);
  const plans = node.pods.map((pod) => ({
    pod,
    fate: (draw() < 0.7 ? "captured" : draw() < 0.5 ? "released" : "removed") as Fate,
    isKilled: false,
    waits: [draw() * 20, draw() * 20, draw() * 60] as const,
  }));
  for (let kill = 1; kill <= KILLS; kill++) {
    const plan = plans[Math.floor((STARTS * kill) / (KILLS + 1))];
    if (plan) Object.assign(plan, { isKilled: true, fate: "captured" });
  }
  let [isKeeperAway, kills] = [false, 0];
  const seen: Record<string, number> = {};
  const count = (what: string): void => {
    seen[what] = (seen[what] ?? 0) + 1;
  };

  const begin = async ({ pod, fate, isKilled, waits }: (typeof plans)[number]): Promise<void> => {
    const { uid, address } = pod;
    await node.guard(pod);
    await sleep(waits[0]);
    node.makeCgroup(pod);
    await node.until(`the hooks on the cgroup of ${uid}`, () => node.isPending(pod));
    if (fate === "removed") {
      await node.removeCgroup(pod);
      await node.until("its links go", () => node.pending(uid).length === 0);
      await node.release(pod);
      return;
    }
    const isAway = isKilled && !isKeeperAway;
    if (isAway) {
      isKeeperAway = true;
      await node.killKeeper();
    }
    node.knock(pod);
    let hasEnded = false;
    const reporting = node.app(pod, 5).finally(() => {
      hasEnded = true;
    });
    await sleep(waits[1]);
    if (isAway) {
      await sleep(100);
      assert.ok(node.isPending(pod), "the hooks outlive the keeper");
      await node.startKeeper();
      isKeeperAway = false;
      kills += 1;
    }
    await sleep(waits[2]);
    const before = (await node.heard()).get(address) ?? 0;
    if (fate === "released") {
      assert.equal(before, 0, `${uid} spoke before it was released`);
      await node.release(pod);
    } else await node.capture(pod, () => hasEnded);
    const { first, reached } = await reporting;
    count(`${fate}, first call ${first}`);
    node.knock(pod, false);
    if (fate === "captured") {
      assert.equal(reached, 0, `${uid} let somebody in`);
      assert.equal((await node.heard()).get(address) ?? 0, 0, `${uid} spoke around the mesh`);
      await node.release(pod);
    } else await node.untilHeard(pod);
    await node.removeCgroup(pod);
  };

  const waiting = [...plans];
  const worker = async (): Promise<void> => {
    for (let plan = waiting.shift(); plan !== undefined; plan = waiting.shift()) await begin(plan);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const found = Object.groupBy([...node.found.values()], (what) => what);
  const refusals = node.refusals();
  console.log(
    seen,
    { kills },
    refusals,
    Object.fromEntries(Object.entries(found).map(([what, pods]) => [what, pods?.length])),
  );
  assert.deepEqual([node.pending(), node.guards()], [[], []], "links stay");
  if (STARTS >= 50) assert.ok((found.expected?.length ?? 0) > 0, "none was refused before its first process");
  // While the keeper was away nothing but the hooks refused the pod that dialled and was dialled.
  if (kills > 0) assert.ok(refusals.connects > 0 && refusals.packets > 0, "what the hooks refuse is counted");
  assert.equal(found.late, undefined, "the pods' own processes were there before their cgroup refused");
  const { maps } = await node.client.programs();
  for (const name of ["pod_by_netns", "pod_by_ip", "inbound_socket"])
    assert.equal(maps.find((map) => map.name === name)?.entries, 0, name);
});
