// test doubles · a kernel that remembers its rows, and namespaces that know which of them are open; a test makes both fail.
import assert from "node:assert/strict";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { isIpv6 } from "../mesh/ip.ts";
import { PodEnrollments } from "./enrollment.ts";
import type {
  AdoptedPod,
  EnrollmentRefusal,
  HeldListener,
  OpenNamespace,
  PodNamespace,
  PodRow,
  PodRows,
} from "./enrollment-states.ts";
import type { LastIndex } from "./last-index.ts";
import { type PendingLinks, PendingPods } from "./pending.ts";
import { FakeNode } from "./pods.fake.ts";
import { ProtectedPods, type ProtectedPodsFile } from "./protected-pods.ts";
import type { PodRef } from "./protocol.ts";

export class FakeRows implements PodRows {
  readonly admitted = new Map<number, readonly HeldListener[]>();
  readonly capturing = new Map<number, boolean>();
  /** Cookies of the namespaces that refuse everything, by index. */
  readonly guarding = new Map<number, bigint>();
  /** Known to the kernel, by index. */
  readonly addresses = new Map<number, readonly string[]>();
  readonly log: string[] = [];
  readonly left: readonly PodRow[];
  foreseen: readonly number[] = [];
  failAt: "admit" | "capture" | "guard" | undefined;

  constructor(left: readonly PodRow[] = []) {
    this.left = left;
    for (const { podIdx } of left) {
      this.admitted.set(podIdx, []);
      this.capturing.set(podIdx, true);
    }
  }
  foresee(podIdxs: readonly number[]): void {
    this.foreseen = podIdxs;
  }
  clear(podIdxs: readonly number[]): void {
    this.log.push(`clear ${podIdxs[0]}`);
    if (podIdxs.some((podIdx) => this.capturing.has(podIdx))) throw new Error("cleared a pod that is captured");
  }
  close(): void {}
  forget(podIdx: number): void {
    this.log.push(`forget ${podIdx}`);
    if (this.capturing.has(podIdx)) throw new Error("forgot a pod that is still captured");
  }
  forgetCapture(podIdx: number): void {
    this.log.push(`forget capture ${podIdx}`);
    if (this.capturing.has(podIdx)) throw new Error("forgot a pod that is still captured");
  }
  forgetFlows(netnsCookie: bigint): void {
    this.log.push(`forget flows of ${netnsCookie}`);
  }
  guard({ podIdx, netnsCookie }: PodRow): void {
    this.log.push(`guard ${podIdx}`);
    this.guarding.set(podIdx, netnsCookie);
    if (this.failAt === "guard") throw new Error("guard fails half way");
    this.capturing.delete(podIdx);
    this.admitted.delete(podIdx);
    this.addresses.delete(podIdx);
  }
  readdress(before: PodRow, after: PodRow): void {
    this.log.push(`readdress ${after.podIdx} ${before.addresses} to ${after.addresses}`);
    if (!this.admitted.has(after.podIdx)) throw new Error("other addresses before it was admitted");
    this.addresses.set(after.podIdx, after.addresses);
  }
  admit(row: PodRow, listeners: readonly HeldListener[]): void {
    this.log.push(`admit ${row.podIdx}`);
    if (this.failAt === "admit") throw new Error("admit fails");
    this.admitted.set(row.podIdx, listeners);
    this.addresses.set(row.podIdx, row.addresses);
  }
  capture(row: PodRow, failDirect: boolean): void {
    this.log.push(`capture ${row.podIdx} ${failDirect}`);
    if (this.failAt === "capture") throw new Error("capture fails");
    if (!this.admitted.has(row.podIdx)) throw new Error("captured before admitted");
    this.capturing.set(row.podIdx, failDirect);
    this.guarding.delete(row.podIdx);
  }
  withdraw(row: PodRow): void {
    this.log.push(`withdraw ${row.podIdx}`);
    this.capturing.delete(row.podIdx);
    this.admitted.delete(row.podIdx);
    this.guarding.delete(row.podIdx);
    this.addresses.delete(row.podIdx);
  }
  adopted(): readonly AdoptedPod[] {
    return this.left.map((row) => ({ row, failDirect: true }));
  }
}

export class FakeNamespaces {
  readonly open = new Set<PodNamespace>();
  cookie = 100n;
  refuse: EnrollmentRefusal | undefined;
  /** Addresses that no namespace has. */
  readonly absent = new Set<string>();
  /** What the namespace has. */
  addresses: readonly string[] = [];

  /** Sweeps that came to their end. */
  swept = 0;
  /** Families whose route to the listener succeeds. */
  readonly routable = new Set<4 | 6>();
  /** So many of the next calls of `cookieOf` fail. */
  cookieFails = 0;

  readonly cookieOf = async (): Promise<bigint> => {
    if (this.cookieFails-- > 0) throw new Error("cookieOf fails");
    return this.cookie;
  };

  readonly openNamespace: OpenNamespace = async (netnsFd, addresses) => {
    closeSync(netnsFd);
    await Promise.resolve();
    if (this.refuse) return this.refuse;
    const listeners: HeldListener[] = addresses.map((address, index) => ({
      kind: "hbone",
      family: isIpv6(address) ? 6 : 4,
      address,
      port: 15008,
      fd: 1000 + index,
    }));
    const namespace: PodNamespace = {
      netnsCookie: this.cookie,
      listeners,
      preservesSource: true,
      addresses: this.addresses,
      makeSockets: async (_, count) =>
        this.open.has(namespace) ? Array.from({ length: count }, (_unused, index) => 2000 + index) : [],
      routeToListener: async () => [...this.routable],
      // It waits for others, as for a survey that pods share; meanwhile the namespace must stay.
      sever: async () => {
        for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate);
        if (!this.open.has(namespace)) throw new Error("closed while it was swept");
        this.swept += 1;
        return 0;
      },
      lacks: async (addresses) => addresses.find((address) => this.absent.has(address)),
      close: async () => {
        if (!this.open.delete(namespace)) throw new Error("closed twice");
      },
    };
    this.open.add(namespace);
    return namespace;
  };
}

/** Hooks on cgroups: by name of the link, the directory. */
export class FakePendingLinks implements PendingLinks {
  readonly on = new Map<string, string>();
  fails = false;
  /** Names of links that were taken off. */
  readonly off: string[] = [];
  /** What was said of calls that failed. */
  readonly refused: string[] = [];

  /** UIDs of pods that refuse everything by their cgroup. */
  get uids(): readonly string[] {
    return [...this.on.keys()].map((name) => name.slice(name.indexOf("-") + 1));
  }
  attach(name: string, directory: string): void {
    if (this.fails) throw new Error("the kernel refuses");
    this.on.set(name, directory);
  }
  detach(name: string): void {
    this.on.delete(name);
    this.off.push(name);
  }
  names(): string[] {
    return [...this.on.keys()];
  }
}

/** For tests of other things. */
export const noPending = (): PendingPods =>
  new PendingPods(new FakePendingLinks(), (_, error) => assert.fail(String(error)));

const nodes: FakeNode[] = [];
after(() => {
  for (const node of nodes) node.remove();
});

/** A file in memory. */
export function fakeFile(text?: string): ProtectedPodsFile & { text: string | undefined } {
  const file = {
    text,
    read: () => file.text,
    write: async (now: string) => {
      file.text = now;
    },
  };
  return file;
}

export function setUp(
  left: readonly PodRow[] = [],
  file = fakeFile(),
  lastIndex: LastIndex = { read: () => 0, write: () => {} },
  pendingLinks = new FakePendingLinks(),
) {
  const node = new FakeNode();
  nodes.push(node);
  node.pod(7);
  const rows = new FakeRows(left);
  const namespaces = new FakeNamespaces();
  const { openNamespace, cookieOf } = namespaces;
  const protectedPods = new ProtectedPods(file, (error) => assert.fail(String(error)));
  const pending = new PendingPods(pendingLinks, (uid, error) => pendingLinks.refused.push(`${uid} ${error}`));
  const enrollments = new PodEnrollments({
    ...{ tree: node, openNamespace, cookieOf, rows, protectedPods, lastIndex, pending },
  });
  return { node, rows, namespaces, enrollments, file, protectedPods, pendingLinks };
}

export async function prepared(enrollments: PodEnrollments, uid = "p7", addresses: readonly string[] = ["10.0.0.7"]) {
  const result = await enrollments.prepare(uid, addresses);
  assert.ok(!("refused" in result), "refused" in result ? result.message : "");
  return result;
}

export const ref = (podIdx: number, uid = "p7"): PodRef => ({ podIdx, uid });

/** A namespace of the fake node, and no process in it. */
export function namespaceOf(node: FakeNode, netns: string): () => number {
  node.process(90, { ticks: 1, netns });
  return () => openSync(join(node.proc, "90", "ns", "net"), "r");
}
