// enrollment.ts over random restarts of the keeper, after which indices mean other pods: what an agent asks for a pod, under whatever index
// it remembers, touches that pod alone, and what it hears is of that pod.
import assert from "node:assert/strict";
import { fstatSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { FakeNamespaces, FakeRows, fakeFile, noPending } from "./enrollment.fake.ts";
import { PodEnrollments } from "./enrollment.ts";
import { isRefusal, type OpenNamespace, type PodRow } from "./enrollment-states.ts";
import { FakeNode } from "./pods.fake.ts";
import { ProtectedPods } from "./protected-pods.ts";
import type { PodRef } from "./protocol.ts";

/** Process 1 is the node's own. */
const PIDS = [2, 3, 4, 5];
const addressOf = (pid: number): string => `10.0.0.${pid}`;

/** Keepers that follow each other on a node; the kernel keeps what they captured and guarded. */
class Keepers {
  readonly node = new FakeNode();
  readonly #file = fakeFile();
  rows = new FakeRows();
  enrollments = this.#begin([]);
  /** What agents have ever heard. */
  readonly heard: PodRef[] = [];
  stale = 0;

  #begin(left: readonly PodRow[]): PodEnrollments {
    this.rows = new FakeRows(left);
    const namespaces = new FakeNamespaces();
    const openNamespace: OpenNamespace = async (netnsFd, addresses) => {
      const { ino } = fstatSync(netnsFd);
      namespaces.cookie = BigInt(ino);
      const opened = await namespaces.openNamespace(netnsFd, addresses);
      return isRefusal(opened) ? opened : { ...opened, makeSockets: async () => [ino], close: async () => {} };
    };
    return new PodEnrollments({
      tree: this.node,
      openNamespace,
      cookieOf: async (netnsFd) => BigInt(fstatSync(netnsFd).ino),
      rows: this.rows,
      protectedPods: new ProtectedPods(this.#file, (error) => assert.fail(String(error))),
      // As after a reboot: the next keeper knows no index that was given before.
      lastIndex: { read: () => 0, write: () => {} },
      pending: noPending(),
    });
  }

  async restart(): Promise<void> {
    const { enrollments, rows } = this;
    const kept = enrollments
      .all()
      .filter(({ row: { podIdx } }) => rows.capturing.has(podIdx) || rows.guarding.has(podIdx));
    const left = kept.map(({ row }) => (rows.capturing.has(row.podIdx) ? row : { ...row, addresses: [] }));
    await enrollments.close();
    this.enrollments = this.#begin(left);
  }

  /** All that keeper and kernel have of other pods. */
  others(uid: string): unknown {
    const { enrollments, rows } = this;
    return enrollments.all().flatMap(({ state, row }) => {
      const { podIdx } = row;
      const kernel = [rows.capturing.get(podIdx), rows.guarding.get(podIdx), rows.addresses.get(podIdx)];
      return row.uid === uid ? [] : [{ state, row, kernel, asked: enrollments.isAskedFor(row.uid) }];
    });
  }

  hear(answer: PodRow | object): void {
    if ("podIdx" in answer) this.heard.push({ podIdx: answer.podIdx, uid: answer.uid });
  }

  async ask(op: string, { podIdx, uid }: PodRef): Promise<void> {
    const { enrollments, node } = this;
    // Nothing that the keeper cannot take from the packet.
    const pod = { podIdx, uid };
    if (enrollments.get(podIdx) !== undefined && enrollments.get(podIdx)?.row.uid !== uid) this.stale += 1;
    const before = this.others(uid);
    if (op === "capture") await enrollments.capture(pod, false);
    if (op === "capture-direct") await enrollments.capture(pod, true);
    if (op === "release") await enrollments.release(pod);
    if (op === "release-to-guard") this.hear(await enrollments.releaseToGuard(pod, `w-${uid}`));
    if (op === "set-addresses") await enrollments.setAddresses(pod, [`10.0.1.${uid.slice(1)}`]);
    if (op === "sever") await enrollments.sever(pod);
    if (op === "sockets") {
      const made = await enrollments.makeSockets(pod, "out4", 1);
      if (Array.isArray(made))
        assert.deepEqual(made, [statSync(join(node.root, "ns", `pod-${uid.slice(1)}`)).ino], uid);
    }
    if (op === "name") await enrollments.name(pod, `w-${uid}`);
    if (op === "known-of") {
      const { workload, addresses } = enrollments.knownOf(pod);
      assert.ok(["", `w-${uid}`].includes(workload), `${uid}: ${workload}`);
      for (const address of addresses) assert.ok(address.endsWith(`.${uid.slice(1)}`), `${uid}: ${address}`);
    }
    assert.deepEqual(this.others(uid), before, `${op} of ${uid} under ${podIdx}`);
  }
}

test("a request on a pod touches no other pod, whatever index the agent remembers from whatever keeper", async () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  const asks = [
    "capture",
    "capture-direct",
    "release",
    "release-to-guard",
    "set-addresses",
    "sever",
    "sockets",
    "name",
    "known-of",
  ];
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ op: fc.constantFrom("prepare", "guard"), at: fc.nat(PIDS.length - 1) }) },
    { weight: 8, arbitrary: fc.record({ op: fc.constantFrom(...asks), at: fc.nat(99) }) },
    {
      weight: 2,
      arbitrary: fc.record({ op: fc.constantFrom("restart", "restart", "sweep", "new-namespace"), at: fc.nat(3) }),
    },
  );
  let stale = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 50 }), async (steps) => {
      const keepers = new Keepers();
      try {
        for (const pid of PIDS) keepers.node.pod(pid);
        for (const { op, at } of steps) {
          const { enrollments, heard } = keepers;
          const pid = PIDS[at] ?? 0;
          if (op === "prepare") {
            const prepared = await enrollments.prepare(`p${pid}`, [addressOf(pid)]);
            if (!isRefusal(prepared)) keepers.hear(prepared.row);
          } else if (op === "guard") keepers.hear(await enrollments.guard(`p${pid}`, `w-p${pid}`));
          else if (op === "restart") await keepers.restart();
          else if (op === "sweep") await enrollments.sweep();
          else if (op === "new-namespace") keepers.node.process(pid, { ticks: 2000 + pid, netns: `pod-${pid}` });
          else if (heard.length > 0) await keepers.ask(op, heard[at % heard.length] ?? assert.fail());
        }
        stale += keepers.stale;
        await keepers.enrollments.releaseAll();
      } finally {
        keepers.node.remove();
      }
    }),
    { seed, numRuns: 150 },
  );
  assert.ok(stale > 25, `seed ${seed}: ${stale} requests under an index of another pod: too tame`);
});
