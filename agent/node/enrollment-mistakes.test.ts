// enrollment.ts against a node of plain state: mistakes are written into the mesh and mended, one after the other, while agents and keepers
// end and begin. A pod that is captured, and whose workload is still in the mesh, is never released.
//
// What is left out here, since nothing would tell the pod from a pod that was taken out of the mesh, while another was added: a file that gives
// a workload another name, another UID and another address in one change; and the same for name and UID while the keeper was of a release that
// kept no names. Such a pod is released as if its document had been removed, which a file may say at any time (control/weakens.ts has it wait
// until the file is still). An API server cannot say it: of a Pod neither name, UID nor node ever change, so that a pod of another UID is
// another pod. The second test has all that it can say, and keepers that kept no names.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { workload } from "../mesh/mesh.fake.ts";
import type { Workload } from "../mesh/workload.ts";
import { testTimes } from "./enrolled-node.fake.ts";
import { FakeNode } from "./enrollment.fake.ts";
import { NodeEnrollment } from "./enrollment.ts";
import type { NodeEnrollmentPorts } from "./enrollment-ports.ts";

type Step =
  | { readonly op: "address"; readonly pod: number; readonly to: "right" | "wrong" | "none" }
  | { readonly op: "uid" | "node" | "label"; readonly pod: number; readonly right: boolean }
  /** Another name, the right address, and a UID, in a single change. */
  | { readonly op: "name"; readonly pod: number; readonly right: boolean }
  | { readonly op: "agent" | "keeper" | "late" | "turn" | "rest" | "older"; readonly meshFirst: boolean };

/** Thousands of runs with pauses: minutes on a machine that others use. */
const LONG = { timeout: 600_000 };
const POD_COUNT = 3;
const podNumber = fc.nat(POD_COUNT - 1);
/** Labels come off seldom: until its label is back and it is captured anew, a pod may go. */
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant("address" as const),
      pod: podNumber,
      to: fc.constantFrom("right", "wrong", "none"),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constantFrom("uid", "node", "name"), pod: podNumber, right: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("label" as const), pod: podNumber, right: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constantFrom("agent", "keeper", "late", "turn", "rest"), meshFirst: fc.boolean() }),
  },
);

/** What an API server may say of a pod in whatever order: its addresses late, or as they were once, and labels. `older`: no name was kept. */
const stepsOfKubernetes: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("address" as const),
      pod: podNumber,
      to: fc.constantFrom("right", "wrong", "none"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("label" as const), pod: podNumber, right: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constantFrom("agent", "keeper", "late", "turn", "rest", "older"),
      meshFirst: fc.boolean(),
    }),
  },
);

const right = Array.from({ length: POD_COUNT }, (_, pod) => workload(`w${pod}`, { addresses: [`10.0.0.${pod + 1}`] }));
/** The same workloads by another name. */
const renamed = right.map((truth, pod) => workload(`v${pod}`, { addresses: truth.addresses, podUid: truth.podUid }));
const isWrong = (written: Workload, truth: Workload): boolean =>
  written.podUid !== truth.podUid || written.node !== truth.node || written.addresses[0] !== truth.addresses[0];

/** One agent after the other on a node that watches what becomes of its captured pods. */
class Watched {
  readonly node = new FakeNode();
  /** By the pod's UID: its label was off since it was last seen captured, with nothing left to do. */
  readonly #mayGo = new Set<string>();
  readonly wrongs: string[] = [];
  /** By the number of its pod, what the mesh says of the workload. */
  readonly written: Workload[] = [...right];
  /** Numbers of pods whose workload had another name since it was last in order: until then they are known by their address alone. */
  readonly #renamed = new Set<number>();
  #agents = 0;
  agent: NodeEnrollment;

  constructor() {
    for (const { podUid, addresses, uid } of right) {
      this.node.namespaceAddresses.set(podUid, addresses);
      this.node.missing.add(`${podUid}-wrong`);
      this.node.absent.add(wrongAddress(uid));
    }
    const { kernel } = this.node;
    const remove = kernel.delete.bind(kernel);
    kernel.delete = (podIdx) => {
      this.#goes(podIdx);
      return remove(podIdx);
    };
    this.agent = this.#next();
  }

  /** Capture ends, and so does the guard of a pod that is captured no more because its namespace has another address. */
  #goes(podIdx: number): void {
    const pod = this.node.kernel.get(podIdx);
    const number = right.findIndex(({ podUid }) => podUid === pod?.uid);
    if (pod === undefined || number < 0 || this.#mayGo.has(pod.uid)) return;
    if (!pod.captured && !this.node.protectedPods.has(pod.uid)) return;
    if (this.written[number]?.protocol === "hbone") this.wrongs.push(`${pod.uid} was released`);
  }

  /** What an agent asks for after its end reaches nobody. */
  #next(): NodeEnrollment {
    const id = ++this.#agents;
    const never = new Promise<never>(() => undefined);
    const lives = <Part extends object>(part: Part): Part =>
      new Proxy(part, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name);
          const isDead = this.#agents !== id;
          if (typeof member !== "function") return isDead && name === "connected" ? false : member;
          return (...args: unknown[]) => (this.#agents !== id ? never : Reflect.apply(member, target, args));
        },
      });
    const { ports } = this.node;
    const alive: NodeEnrollmentPorts = {
      ...ports,
      keeper: lives(ports.keeper),
      threads: lives(ports.threads),
      tables: lives(ports.tables),
      certificates: lives(ports.certificates),
      closeListeners: (listeners) => (this.#agents === id ? ports.closeListeners(listeners) : undefined),
    };
    return new NodeEnrollment({ node: "n1", times: testTimes }, alive);
  }

  async agentEnds(meshFirst: boolean): Promise<void> {
    const { node, agent } = this;
    this.agent = this.#next();
    void agent.close();
    // The threads have done by then what it asked them for before its end.
    await turn();
    // The kernel closes what the agent's threads had; what it wrote into the kernel's tables stays.
    for (const had of [node.served, node.accepting, node.held, node.lent]) had.clear();
    for (const podIdx of node.verdicts) if (!node.kernel.has(podIdx)) node.verdicts.delete(podIdx);
    if (meshFirst) void this.agent.meshChanged();
    void this.agent.keeperCame(node.keeperComes());
    if (!meshFirst) void this.agent.meshChanged();
  }

  keeperEnds(): void {
    this.node.keeperGoes();
    void this.agent.keeperCame(this.node.keeperComes());
  }

  write(pod: number, change: Workload): void {
    const before = this.written[pod] ?? change;
    if (change.uid !== before.uid) this.#renamed.add(pod);
    // An address that is wrong now, too, would leave nothing by which anybody could know the pod.
    const written = this.#renamed.has(pod) ? { ...change, addresses: right[pod]?.addresses ?? [] } : change;
    if (written.protocol === "none") this.#mayGo.add(right[pod]?.podUid ?? "");
    this.written[pod] = written;
    this.node.workloads.delete(before.uid);
    this.node.workloads.set(written.uid, written);
    this.agent.followNames();
    void this.agent.meshChanged();
  }

  async rests(): Promise<void> {
    for (let look = 0; look < 3; look += 1) {
      await this.agent.reconcile();
      await sleep(1);
    }
    const captured = new Set(this.node.captured().map(({ uid }) => uid));
    for (const [pod, truth] of right.entries()) {
      const written = this.written[pod] ?? truth;
      if (!captured.has(truth.podUid) || written.protocol !== "hbone") continue;
      this.#mayGo.delete(truth.podUid);
      if (written.uid === truth.uid && !isWrong(written, truth)) this.#renamed.delete(pod);
    }
  }
}

function wrongAddress(uid: string): string {
  return `10.9.0.${right.findIndex((truth) => truth.uid === uid) + 1}`;
}

function edited(before: Workload, step: Extract<Step, { readonly pod: number }>): Workload {
  const truth = right[step.pod] ?? assert.fail();
  if (step.op === "address")
    return { ...before, addresses: { right: truth.addresses, wrong: [wrongAddress(truth.uid)], none: [] }[step.to] };
  if (step.op === "name") {
    const by = (step.right ? truth : renamed[step.pod]) ?? truth;
    return {
      ...by,
      podUid: `${truth.podUid}${before.podUid === truth.podUid ? "-wrong" : ""}`,
      node: before.node,
      protocol: before.protocol,
    };
  }
  if (step.op === "uid") return { ...before, podUid: step.right ? truth.podUid : `${truth.podUid}-wrong` };
  if (step.op === "node") return { ...before, node: step.right ? truth.node : "n2" };
  return { ...before, protocol: step.right ? "hbone" : "none" };
}

/** How many captured pods met an agent that began with a mistake about them. */
async function runs(t: TestContext, drawn: fc.Arbitrary<Step>, numRuns: number): Promise<number> {
  const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`ORLOP_SEED=${seed}`);
  let mistaken = 0;
  const property = fc.asyncProperty(
    fc.array(drawn, { minLength: 3, maxLength: 30 }),
    fc.boolean(),
    async (sequence, isOpen) => {
      const world = new Watched();
      const { node } = world;
      // Of a pod that passes plaintext the keeper keeps capture and name, and no guard.
      if (isOpen) node.open.add("w0").add("v0");
      for (const truth of right) node.workloads.set(truth.uid, truth);
      void world.agent.meshChanged();
      await world.agent.keeperCame(node.keeperComes());
      await world.rests();
      for (const step of sequence) {
        if ("pod" in step) {
          const truth = right[step.pod] ?? assert.fail();
          world.write(step.pod, edited(world.written[step.pod] ?? truth, step));
        } else if (step.op === "agent" || step.op === "older") {
          if (step.op === "older") node.names.clear();
          const captured = new Set(node.captured().map(({ uid }) => uid));
          mistaken += right.filter(
            (truth, pod) => captured.has(truth.podUid) && isWrong(world.written[pod] ?? truth, truth),
          ).length;
          await world.agentEnds(step.meshFirst);
        } else if (step.op === "keeper") world.keeperEnds();
        else if (step.op === "late") node.lateGuards = 1;
        else if (step.op === "turn") await turn();
        else await world.rests();
        assert.deepEqual(world.wrongs, []);
      }
      node.lateGuards = 0;
      for (const [pod, truth] of right.entries()) world.write(pod, truth);
      const isSettled = (): boolean => node.captured().length === POD_COUNT && node.kernel.size === POD_COUNT;
      for (let look = 0; look < 50 && !isSettled(); look += 1) await world.rests();
      assert.deepEqual(world.wrongs, []);
      assert.deepEqual(
        node
          .captured()
          .map(({ uid }) => uid)
          .toSorted(),
        right.map(({ podUid }) => podUid),
      );
      assert.equal(node.kernel.size, POD_COUNT, "the keeper holds nothing for any other pod");
      await world.agent.close();
    },
  );
  await fc.assert(property, { seed, numRuns });
  t.diagnostic(`${mistaken} captured pods met an agent that began with a mistake about them`);
  return mistaken;
}

test(
  "a captured pod whose workload is in the mesh is never released, whatever is wrong about it and whoever begins",
  LONG,
  async (t) => {
    assert.ok((await runs(t, steps, 2_000)) > 1_000);
  },
);

test(
  "nor is it by anything that an API server may say, also where an earlier keeper has kept no names",
  LONG,
  async (t) => {
    assert.ok((await runs(t, stepsOfKubernetes, 1_000)) > 700);
  },
);
