// pod-guards.ts with the steps of an enrollment, and a keeper that answers late: whatever is asked while answers are on their way, the agent
// takes no pod for guarded that the keeper does not guard, knows each pod by the index that it has, and by the name that the keeper keeps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { KeeperRefused } from "../engine/keeper-session.ts";
import { workload } from "../mesh/mesh.fake.ts";
import { testTimes } from "./enrolled-node.fake.ts";
import { FakeNode } from "./enrollment.fake.ts";
import type { EnrollmentStep, UnservedPod } from "./enrollment-plan.ts";
import type { NodeEnrollmentPorts } from "./enrollment-ports.ts";
import { EnrollmentSteps } from "./enrollment-steps.ts";
import { FailedPods } from "./failed-pods.ts";
import { NodePods } from "./node-pods.ts";
import { PodGuards } from "./pod-guards.ts";
import { PodService } from "./pod-service.ts";

const POD = "uid-pod";
const strict = workload("strict", { podUid: POD, addresses: ["10.0.0.1"] });
const other = workload("other", { podUid: POD, addresses: ["10.0.0.1"] });
const open = workload("open", { podUid: POD, addresses: ["10.0.0.1"] });
const claimants = [strict, other, open];

/**
 * The keeper acts on each request in its turn, and each answer waits until the test lets it through. Most wait for the keeper's disk, too, and
 * come in their order; others and notices may pass them.
 */
class LateKeeper {
  readonly node = new FakeNode();
  readonly #onDisk: (() => void)[] = [];
  readonly #quick: (() => void)[] = [];
  readonly ports: NodeEnrollmentPorts;

  constructor() {
    const { keeper } = this.node.ports;
    const late = <Given extends readonly unknown[], Answer>(
      ask: (...given: Given) => Promise<Answer>,
      queue = this.#onDisk,
    ) => {
      return async (...given: Given): Promise<Answer> => {
        const answer = ask(...given);
        answer.catch(() => undefined);
        await new Promise<void>((resolve) => queue.push(resolve));
        return answer;
      };
    };
    const { guard, knownOf, name, setAddresses, prepare, capture, release, releaseToGuard, sever } = keeper;
    const { node } = this;
    // As the keeper answers where it has no such pod.
    const released = (pod: Parameters<typeof release>[0]): Promise<void> =>
      release(pod).catch((error: unknown) => {
        if (!(error instanceof KeeperRefused)) throw error;
      });
    this.ports = {
      ...node.ports,
      keeper: {
        get connected() {
          return node.connected;
        },
        ...{
          guard: late(guard),
          knownOf: late(knownOf, this.#quick),
          name: late(name),
          setAddresses: late(setAddresses),
        },
        ...{ prepare: late(prepare, this.#quick), capture: late(capture), release: late(released), sever },
        releaseToGuard: late(releaseToGuard),
      },
    };
  }

  /** No notice of what came later passes these. */
  get hasQuick(): boolean {
    return this.#quick.length > 0;
  }

  /** The oldest answer arrives, of those that wait for the disk or of the others. */
  async answer(quick: boolean): Promise<void> {
    await turn();
    const [first, second] = quick ? [this.#quick, this.#onDisk] : [this.#onDisk, this.#quick];
    (first.shift() ?? second.shift())?.();
    await turn();
  }

  /** All answers arrive, and those to what is asked because of them. */
  async answerAll(): Promise<void> {
    await turn();
    while (this.#onDisk.length + this.#quick.length > 0) await this.answer(true);
  }
}

type Act = {
  readonly op: "guard" | "enroll" | "release" | "disown" | "open" | "pod-goes" | "keeper" | "answer";
  readonly which: number;
};

/** What an enrollment does of a pod: a step at a time, guards at any moment. */
class Enrolling {
  readonly late = new LateKeeper();
  readonly found = new Map<string, UnservedPod>();
  readonly pods = new NodePods(this.late.ports.mesh);
  readonly guards: PodGuards;
  readonly #steps: EnrollmentSteps;
  readonly #service: PodService;
  readonly #closing = new AbortController();
  #busy = false;

  constructor() {
    const { node, ports } = this.late;
    const closing = this.#closing.signal;
    const times = testTimes;
    const known = { pods: this.pods, found: this.found };
    node.remembersIndices = true;
    node.open.add(open.name);
    for (const claimant of claimants) node.workloads.set(claimant.uid, claimant);
    this.guards = new PodGuards(known, ports, { retryMs: 1, closing, answeredLate: () => undefined });
    this.#service = new PodService(this.pods, ports, { times, closing, lost: () => undefined });
    this.#steps = new EnrollmentSteps(
      {
        ...{ known, service: this.#service, guards: this.guards, failed: new FailedPods(ports), times, closing },
        ...{ isRivals: () => false, disowned: () => undefined },
      },
      ports,
    );
    node.keeperComes();
  }

  act({ op, which }: Act): void | Promise<void> {
    const claimant = claimants[which] ?? strict;
    const held = this.pods.get(POD);
    const podIdx = this.found.get(POD)?.podIdx;
    const captured = held?.state === "captured" ? held : undefined;
    const guard = claimant === open ? undefined : claimant;
    switch (op) {
      case "guard":
        return void this.guards.guard(claimant).catch(() => undefined);
      case "enroll":
        return held === undefined ? this.#step({ op: "enroll", workload: claimant }) : undefined;
      case "release":
        if (captured) return this.#step({ op: "release", pod: captured });
        return held || podIdx === undefined ? undefined : this.#step({ op: "release-found", podUid: POD, podIdx });
      case "disown":
        if (captured) return this.#step({ op: "disown", pod: captured, guard });
        return held || podIdx === undefined
          ? undefined
          : this.#step({ op: "disown-found", podUid: POD, podIdx, guard });
      case "open":
        return captured && this.#step({ op: "set-fail-mode", pod: captured, failDirect: which === 2 });
      case "pod-goes":
        return this.#podGoes();
      case "keeper":
        return this.#keeper();
      case "answer":
        return this.late.answer(which > 0);
    }
  }

  #step(step: EnrollmentStep): void {
    if (this.#busy) return;
    this.#busy = true;
    void this.#steps
      .perform(step)
      .catch(() => undefined)
      .finally(() => {
        this.#busy = false;
      });
  }

  /** As NodeEnrollment.podGone and podGuarded. The notices pass answers that wait for the keeper's disk. */
  #podGoes(): void {
    if (this.late.hasQuick) return;
    const { gone, guarded } = this.late.node.podGoes(POD);
    if (gone === undefined) return;
    if (this.found.get(POD)?.podIdx === gone) this.found.delete(POD);
    this.guards.gone(POD, gone);
    const pod = this.pods.get(POD);
    if (pod?.podIdx === gone) {
      this.pods.set({ ...pod, state: "gone" });
      void this.#service.end({ ...pod, state: "gone" }, true);
    }
    if (guarded !== undefined) this.found.set(POD, { podIdx: guarded, known: undefined });
  }

  /** As NodeEnrollment.keeperCame; what was held is taken over by none. */
  async #keeper(): Promise<void> {
    const { node } = this.late;
    node.keeperGoes();
    await this.late.answerAll();
    this.found.clear();
    for (const { uid, podIdx } of node.keeperComes()) this.found.set(uid, { podIdx, known: undefined });
    this.guards.keeperCame();
    for (const pod of this.pods.all()) void this.#service.end(pod, false);
    await this.late.answerAll();
  }

  close(): void {
    this.#closing.abort();
  }

  /** Nothing is on its way: what the agent believes, and is not so. */
  async wrongs(): Promise<readonly string[]> {
    do await this.late.answerAll();
    while (this.#busy);
    const { node } = this.late;
    const there = [...node.kernel].map(([podIdx, { captured }]) => ({ podIdx, captured }));
    const known = this.pods.get(POD)?.podIdx ?? this.found.get(POD)?.podIdx;
    const guarded = this.guards.guarded.get(POD);
    const named = this.guards.named.get(POD);
    return [
      ...(guarded !== undefined && !node.protectedPods.has(POD) ? [`is taken for guarded as ${guarded}`] : []),
      ...(named !== undefined && node.names.get(POD) !== named ? [`is taken for named ${named}`] : []),
      ...(there[0]?.podIdx === known ? [] : [`is known as ${known}, and is ${there[0]?.podIdx}`]),
    ];
  }
}

const acts: fc.Arbitrary<Act> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ op: fc.constant("answer" as const), which: fc.nat(1) }) },
  {
    weight: 9,
    arbitrary: fc.record({
      op: fc.constantFrom("guard", "guard", "enroll", "release", "disown", "open", "pod-goes"),
      which: fc.nat(2),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("keeper" as const), which: fc.constant(0) }) },
);

test("however guards, releases, enrollments and their answers interleave, the agent knows what the keeper has", async (t) => {
  const seed = Number(process.env.ORLOP_SEED ?? Math.trunc(Math.random() * 2 ** 31));
  t.diagnostic(`ORLOP_SEED=${seed}`);
  const reached = { guarded: 0, captured: 0, nothing: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(acts, { minLength: 3, maxLength: 24 }), async (given) => {
      const enrolling = new Enrolling();
      for (const act of given) await enrolling.act(act);
      const wrongs = await enrolling.wrongs();
      enrolling.close();
      assert.deepEqual(wrongs, []);
      const [pod] = enrolling.late.node.kernel.values();
      reached[pod === undefined ? "nothing" : pod.captured ? "captured" : "guarded"]++;
    }),
    { seed, numRuns: 5_000 },
  );
  t.diagnostic(JSON.stringify(reached));
  for (const [state, times] of Object.entries(reached)) assert.ok(times > 100, `${state} only ${times} times`);
});
