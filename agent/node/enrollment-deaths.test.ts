// enrollment.ts against a node of plain state on which keeper or agent dies at each request of a pod's life, before the keeper acts or
// after it: in the end all is as if nobody had died, and a pod that must refuse is protected at every moment from its guard on.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { KeeperLost } from "../engine/keeper-session.ts";
import { workload } from "../mesh/mesh.fake.ts";
import type { Workload } from "../mesh/workload.ts";
import { testTimes } from "./enrolled-node.fake.ts";
import { FakeNode } from "./enrollment.fake.ts";
import { NodeEnrollment } from "./enrollment.ts";
import type { NodeEnrollmentPorts } from "./enrollment-ports.ts";

type Death = {
  readonly who: "agent" | "keeper";
  /** The number of the request at which it dies, from 1. */
  readonly at: number;
  readonly when: "before" | "after";
};

const web = workload("web", { addresses: ["10.0.0.1"] });
/** It begins without an address, and its namespace has another first. */
const api = workload("api", { addresses: ["10.0.0.2"] });
const never = new Promise<never>(() => undefined);

/** One agent after the other on a node; what an agent asks for after its death reaches nobody. */
class Agents {
  readonly node = new FakeNode();
  readonly #death: Death;
  #asked = 0;
  #agents = 0;
  current: NodeEnrollment;

  constructor(death: Death) {
    this.#death = death;
    this.current = this.#next();
    this.node.namespaceAddresses.set("uid-api", ["10.0.0.9"]);
  }

  get asked(): number {
    return this.#asked;
  }

  #next(): NodeEnrollment {
    const id = ++this.#agents;
    const isDead = (): boolean => this.#agents !== id;
    const { ports } = this.node;
    const lives = <Part extends object>(part: Part): Part =>
      new Proxy(part, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name);
          if (typeof member !== "function") return member;
          return (...args: unknown[]) => (isDead() ? never : Reflect.apply(member, target, args));
        },
      });
    const asks: NodeEnrollmentPorts["keeper"] = new Proxy(ports.keeper, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== "function") return isDead() ? false : member;
        return (...args: unknown[]) =>
          isDead() ? never : this.#ask(() => Reflect.apply(member, target, args), isDead);
      },
    });
    const alive: NodeEnrollmentPorts = {
      ...ports,
      keeper: asks,
      closeListeners: (listeners) => (isDead() ? undefined : ports.closeListeners(listeners)),
      threads: lives(ports.threads),
      tables: lives(ports.tables),
      certificates: lives(ports.certificates),
    };
    return new NodeEnrollment({ node: "n1", times: testTimes }, alive);
  }

  async #ask(act: () => unknown, isDead: () => boolean): Promise<unknown> {
    const { who, at, when } = this.#death;
    const isDue = ++this.#asked === at;
    if (isDue && when === "before") this.#die(who);
    if (isDead()) return never;
    const before = new Set(this.node.lent.keys());
    const answer = await act();
    if (isDue && when === "after") this.#die(who);
    const isLost = isDead() || (isDue && when === "after");
    // The descriptors of an answer that does not arrive are closed.
    if (isLost) for (const fd of [...this.node.lent.keys()]) if (!before.has(fd)) this.node.lent.delete(fd);
    if (isDead()) return never;
    if (isLost) throw new KeeperLost("the keeper closed the connection");
    return answer;
  }

  #die(who: Death["who"]): void {
    const { node } = this;
    if (who === "keeper") node.keeperGoes();
    else {
      void this.current.close();
      // The kernel closes what the agent's threads had; what it wrote into the kernel's tables stays.
      node.served.clear();
      node.accepting.clear();
      node.held.clear();
      node.lent.clear();
      // The keeper has deleted there what was of an index that it released.
      for (const podIdx of node.verdicts) if (!node.kernel.has(podIdx)) node.verdicts.delete(podIdx);
      this.current = this.#next();
      void this.current.meshChanged();
    }
    setImmediate(() => void this.current.keeperCame(node.keeperComes()));
  }

  async settles(what: string, isSettled: () => boolean): Promise<void> {
    for (let turns = 0; !isSettled(); turns += 1) {
      assert.ok(turns < 2_000, `never: ${what}; ${JSON.stringify(this.#death)}\n${this.node.calls.join("\n")}`);
      // A pod rests after a refusal, until something changes or a timer says so.
      if (turns % 20 === 19) void this.current.reconcile();
      await turn();
    }
  }
}

const isCapturedAs = ({ kernel }: FakeNode, { podUid }: Workload, address: string): boolean =>
  [...kernel.values()].some(
    ({ uid, captured, prepared, addresses }) => uid === podUid && captured && prepared && addresses[0] === address,
  );

/** Two pods come; the second has an address of another pod at first, and leaves in the end. How many requests that took. */
async function lives(death: Death): Promise<number> {
  const agents = new Agents(death);
  const { node } = agents;
  const change = (...given: readonly Workload[]): void => {
    for (const added of given) node.workloads.set(added.uid, added);
    void agents.current.meshChanged();
  };
  const protect = node.protectedPods;
  const seen = new Set<string>();
  const protectedAll = (): void => {
    for (const uid of protect.keys()) seen.add(uid);
    for (const { podUid } of node.workloads.values())
      if (seen.has(podUid)) assert.ok(protect.has(podUid), `${podUid} lost its protection; ${JSON.stringify(death)}`);
  };
  const doCall = node.calls.push.bind(node.calls);
  node.calls.push = (...items: string[]) => {
    protectedAll();
    return doCall(...items);
  };
  node.withoutCertificate.add(web.identity.text);
  change(web, { ...api, addresses: [] });
  void agents.current.keeperCame(node.keeperComes());
  await agents.settles(
    "both captured",
    () => isCapturedAs(node, web, "10.0.0.1") && isCapturedAs(node, api, "10.0.0.9"),
  );
  node.certificatesCome();
  // That address is another's, and the namespace does not have its own yet.
  node.absent.add("10.0.0.2");
  change({ ...workload("other", { addresses: ["10.0.0.9"] }), node: "n2" }, api);
  await agents.settles("guarded without an address", () =>
    [...node.kernel.values()].some(
      ({ uid, captured, addresses }) => uid === "uid-api" && !captured && addresses.length === 0,
    ),
  );
  node.absent.clear();
  await agents.settles("another address", () => isCapturedAs(node, api, "10.0.0.2"));
  node.workloads.delete(api.uid);
  void agents.current.meshChanged();
  await agents.settles("one pod left", () => {
    const { kernel, served, held, verdicts } = node;
    const rows = [kernel.size, served.size, verdicts.size, held.size, protect.size];
    const accepts = [...node.accepting.values()].map((kinds) => kinds.size);
    return (
      accepts.join() === "2" &&
      node.lent.size === 0 &&
      rows.every((size) => size === 1) &&
      isCapturedAs(node, web, "10.0.0.1")
    );
  });
  await agents.current.close();
  return agents.asked;
}

test("keeper or agent dies at each request of a pod's life, before the keeper acts or after it", async () => {
  const requests = await lives({ who: "keeper", at: 0, when: "before" });
  assert.ok(requests > 10, `${requests} requests`);
  for (const who of ["keeper", "agent"] as const) {
    for (const when of ["before", "after"] as const) {
      for (let at = 1; at <= requests; at += 1) await lives({ who, at, when });
    }
  }
});
