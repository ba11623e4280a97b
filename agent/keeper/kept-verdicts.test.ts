// enrollment.ts over random steps: what an agent writes about a pod, under the index by which it knows the pod, lasts as long as the pod has
// that index, in whatever state the pod is; and an index that is given to a pod says nothing of the pod before it.
import assert from "node:assert/strict";
import { fstatSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { FakeNamespaces, FakeRows, fakeFile, noPending } from "./enrollment.fake.ts";
import { PodEnrollments } from "./enrollment.ts";
import { isRefusal, type OpenNamespace } from "./enrollment-states.ts";
import { FakeNode } from "./pods.fake.ts";
import { ProtectedPods } from "./protected-pods.ts";

/** Process 1 is the node's own. */
const PIDS = [2, 3, 4];
const uidOf = (pid: number): string => `p${pid}`;
type Step = { readonly op: (typeof OPS)[number]; readonly pid: number };
const OPS = [
  ...["guard", "prepare", "capture", "capture-direct", "release", "release-to-guard"],
  ...["another-sandbox", "ends", "comes", "sweep"],
] as const;
const steps = fc.array(fc.record({ op: fc.constantFrom(...OPS), pid: fc.constantFrom(...PIDS) }), {
  minLength: 20,
  maxLength: 60,
});

/** A keeper, and an agent that writes about each pod of which it hears at once, once for each index. */
class Node {
  readonly node = new FakeNode();
  readonly enrollments: PodEnrollments;
  /** Who is meant by what the tables say, by index. */
  readonly #written = new Map<number, string>();
  /** By UID: the index under which the agent has written. */
  #known = new Map<string, number>();
  #sandboxes = 0;
  /** Steps after which a pod that the agent had written about was in another state, under the same index. */
  moved = 0;

  constructor() {
    for (const pid of PIDS) this.node.pod(pid);
    const rows = new FakeRows();
    const clear = rows.clear.bind(rows);
    // After the keeper gives an index back, the kernel may keep what the agent wrote about it until the keeper gives it again.
    rows.clear = (podIdxs) => {
      clear(podIdxs);
      for (const podIdx of podIdxs) this.#written.delete(podIdx);
    };
    const namespaces = new FakeNamespaces();
    const openNamespace: OpenNamespace = async (netnsFd, addresses) => {
      namespaces.cookie = BigInt(fstatSync(netnsFd).ino);
      const opened = await namespaces.openNamespace(netnsFd, addresses);
      return isRefusal(opened) ? opened : { ...opened, close: async () => {} };
    };
    this.enrollments = new PodEnrollments({
      ...{ tree: this.node, openNamespace, rows },
      cookieOf: async (netnsFd) => BigInt(fstatSync(netnsFd).ino),
      protectedPods: new ProtectedPods(fakeFile(), (error) => assert.fail(String(error))),
      lastIndex: { read: () => 0, write: () => {} },
      pending: noPending(),
    });
  }

  async step({ op, pid }: Step): Promise<void> {
    const before = new Map(this.enrollments.all().map(({ row, state }) => [row.uid, state]));
    await this.#perform(op, pid);
    const now = new Map<string, number>();
    for (const { row, state } of this.enrollments.all()) {
      const { podIdx, uid } = row;
      const isSame = this.#known.get(uid) === podIdx;
      if (isSame && before.get(uid) !== state) this.moved += 1;
      const said = this.#written.get(podIdx);
      assert.equal(said, isSame ? uid : undefined, `after ${op} of ${uidOf(pid)}: ${uid} is ${state} under ${podIdx}`);
      this.#written.set(podIdx, uid);
      now.set(uid, podIdx);
    }
    this.#known = now;
  }

  async #perform(op: Step["op"], pid: number): Promise<void> {
    const { enrollments, node } = this;
    const uid = uidOf(pid);
    const pod = { podIdx: this.#known.get(uid) ?? 0, uid };
    if (op === "guard") await enrollments.guard(uid, "web");
    if (op === "prepare") await enrollments.prepare(uid, [`10.0.0.${pid}`]);
    if (op === "capture") await enrollments.capture(pod, false);
    if (op === "capture-direct") await enrollments.capture(pod, true);
    if (op === "release") await enrollments.release(pod);
    if (op === "release-to-guard") await enrollments.releaseToGuard(pod, "web");
    if (op === "sweep") await enrollments.sweep();
    if (op === "comes") node.pod(pid);
    if (op === "ends") node.process(pid, { ticks: 1, netns: "host" });
    this.#sandboxes += 1;
    if (op === "another-sandbox") node.process(pid, { ticks: 9, netns: `sandbox-${this.#sandboxes}` });
  }
}

test("what was written about a pod lasts as long as its index is its own", async () => {
  const seed = Date.now() & 0x7fffffff;
  console.log(`seed ${seed}`);
  let moved = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const world = new Node();
      try {
        for (const step of list) await world.step(step);
        moved += world.moved;
      } finally {
        await world.enrollments.close();
        world.node.remove();
      }
    }),
    { seed, numRuns: 150 },
  );
  assert.ok(moved > 200, `seed ${seed}: ${moved} changes of state under the same index: too tame`);
});
