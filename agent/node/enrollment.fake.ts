// test double · a node for NodeEnrollment: mesh, keeper with its kernel, data threads, tables and certificates as plain state.
// Each request is checked against the order in which a pod must come into service.
import assert from "node:assert/strict";
import type { CapturedPod, PreparedPod } from "../engine/keeper-client.ts";
import { KeeperLost, KeeperRefused } from "../engine/keeper-session.ts";
import type { ListenerKind, PodRef } from "../keeper/protocol.ts";
import type { Service } from "../mesh/service.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Logger } from "../observe/log.ts";
import type { PodMessage } from "../threads/data-threads.ts";
import type { NodeEnrollmentPorts } from "./enrollment-ports.ts";

type KernelPod = {
  readonly uid: string;
  prepared: boolean;
  captured: boolean;
  failDirect: boolean;
  addresses: readonly string[];
};

const places = [
  { kind: "outbound", family: 4, address: "127.0.0.1", port: 15001 },
  { kind: "hbone", family: 4, address: "127.0.0.1", port: 15008 },
] as const;

class VersionedMap<Key, Value> extends Map<Key, Value> {
  version = 0;

  override set(key: Key, value: Value): this {
    this.version += 1;
    return super.set(key, value);
  }

  override delete(key: Key): boolean {
    this.version += 1;
    return super.delete(key);
  }

  override clear(): void {
    this.version += 1;
    super.clear();
  }
}

export class FakeNode {
  readonly workloads = new VersionedMap<string, Workload>();
  /** By address. */
  readonly services = new Map<string, Service>();
  /** By UID, the workload whose pod the keeper protects. Outlives the keeper. */
  readonly protectedPods = new Map<string, string>();
  /** By UID, what an agent called a pod that the keeper holds. Outlives the keeper. */
  readonly names = new Map<string, string>();
  /** Addresses that no pod has. */
  readonly namespaceAddresses = new Map<string, readonly string[]>();
  readonly absent = new Set<string>();
  /** What the keeper knows, by index: guarded, prepared or captured. Captured and guarded pods outlive it. */
  readonly kernel = new Map<number, KernelPod>();
  /** Indices that the data threads serve. */
  readonly served = new Set<number>();
  readonly verdicts = new Set<number>();
  readonly held = new Map<string, number>();
  /** Every request and order, by name. */
  readonly calls: string[] = [];
  readonly warnings: string[] = [];
  /** UIDs of pods that the keeper cannot find. */
  readonly missing = new Set<string>();
  /** Identities whose certificate does not come. */
  readonly withoutCertificate = new Set<string>();
  /** Workloads of these names pass plaintext, so they fail direct. */
  readonly open = new Set<string>();
  /** Workloads of these names pass plaintext as far as policy lets them. */
  readonly underPolicy = new Set<string>();
  /** By UID, whether the API server says that the pod is outside of the mesh; it says so of others. */
  readonly apiSays = new Map<string, boolean | "nothing">();
  /** How often the API server was asked that. */
  asked = 0;
  /** Descriptors of listeners that this agent has open and no thread has. */
  readonly lent = new Map<number, { readonly uid: string; readonly kind: ListenerKind }>();
  /** By index, the kinds of listeners at which the threads accept. */
  readonly accepting = new Map<number, Set<ListenerKind>>();
  /** Pods whose verdicts became stricter: `setPod` says so. */
  readonly tightened = new Set<number>();
  /** Requests, as `calls` has them, and certificates by identity, that are not answered until `resume`. */
  readonly hanging = new Set<string>();
  /** Indices of pods whose next listeners the threads cannot take. */
  readonly unserved = new Set<number>();
  connected = false;
  /** So many of the next guards are answered too late. */
  lateGuards = 0;
  /** The next keeper knows which indices were given away (keeper/last-index.ts). */
  remembersIndices = false;
  /** The keeper knows no request to release a pod and keep its guard. */
  older = false;
  #keepers = 0;
  #nextIdx = 1;
  #nextFd = 100;
  readonly #hung: (() => void)[] = [];
  #certificatesCame: (() => void)[] = [];

  readonly log: Logger = {
    debug: () => undefined,
    info: (message, fields) => void this.calls.push(`log ${message} ${fields?.pod ?? ""}`),
    warn: (message) => void this.warnings.push(message),
    error: () => undefined,
  };

  readonly ports: NodeEnrollmentPorts = {
    mesh: this.#mesh(),
    keeper: this.#keeper(),
    threads: {
      servePod: async ({ podIdx, listeners }: PodMessage) => {
        this.calls.push(`serve ${podIdx}`);
        await this.#mayHang(`serve ${podIdx}`);
        for (const { fd } of listeners) assert.ok(this.lent.delete(fd), "a listener is served twice, or was closed");
        if (this.unserved.delete(podIdx)) throw new Error("no descriptor is left");
        const kinds = this.accepting.get(podIdx) ?? new Set();
        this.accepting.set(podIdx, kinds.union(new Set(listeners.map(({ kind }) => kind))));
        this.served.add(podIdx);
      },
      leavePod: async (podIdx) => void this.calls.push(`leave ${podIdx}`),
      removePod: async (podIdx, cut) => {
        this.calls.push(`${cut ? "cut" : "unserve"} ${podIdx}`);
        this.served.delete(podIdx);
        this.accepting.delete(podIdx);
      },
    },
    tables: {
      setPod: (podIdx) => {
        this.verdicts.add(podIdx);
        return this.tightened.delete(podIdx);
      },
      removePod: (podIdx) => void this.verdicts.delete(podIdx),
      failDirect: ({ name }) => this.open.has(name),
      refusesPlaintext: ({ name }) => !this.open.has(name) && !this.underPolicy.has(name),
    },
    closeListeners: (listeners) => {
      for (const { fd } of listeners) assert.ok(this.lent.delete(fd), "a listener is closed twice");
    },
    certificates: {
      hold: ({ text }: SpiffeId) => {
        this.held.set(text, (this.held.get(text) ?? 0) + 1);
        return 1;
      },
      release: ({ text }: SpiffeId) => {
        const holders = (this.held.get(text) ?? 0) - 1;
        assert.ok(holders >= 0, `${text} is released once too often`);
        if (holders === 0) this.held.delete(text);
        else this.held.set(text, holders);
      },
      isReady: ({ text }: SpiffeId) =>
        this.held.has(text) && !this.hanging.has(text) && !this.withoutCertificate.has(text),
      ready: async ({ text }: SpiffeId, signal?: AbortSignal) => {
        await this.#mayHang(text);
        if (!this.held.has(text)) return false;
        if (!this.withoutCertificate.has(text)) return true;
        if (signal?.aborted) return false;
        await new Promise<void>((resolve) => {
          this.#certificatesCame.push(resolve);
          signal?.addEventListener("abort", () => resolve(), { once: true });
        });
        return this.held.has(text) && !this.withoutCertificate.has(text);
      },
    },
    log: this.log,
    wasOutside: async ({ podUid }) => {
      this.asked += 1;
      const said = this.apiSays.get(podUid) ?? true;
      if (said === "nothing") throw new Error("away");
      return said;
    },
    podsChanged: () => void this.calls.push("pods changed"),
  };

  #mayHang(call: string): Promise<void> {
    return this.hanging.has(call) ? new Promise((resolve) => this.#hung.push(resolve)) : Promise.resolve();
  }

  /** What hangs goes on, and nothing hangs any more. */
  resume(): void {
    this.hanging.clear();
    for (const resolve of this.#hung.splice(0)) resolve();
  }

  certificatesCome(): void {
    this.withoutCertificate.clear();
    for (const resolve of this.#certificatesCame.splice(0)) resolve();
  }

  /** Another keeper: it knows what the kernel captures, and has lent nothing. */
  keeperComes(): readonly CapturedPod[] {
    for (const [podIdx, pod] of this.kernel) {
      pod.prepared = false;
      if (!pod.captured && !this.protectedPods.has(pod.uid)) {
        this.kernel.delete(podIdx);
        this.names.delete(pod.uid);
      }
    }
    this.connected = true;
    this.#keepers += 1;
    // It knows no other index that was given away.
    if (!this.remembersIndices) this.#nextIdx = Math.max(0, ...this.kernel.keys()) + 1;
    return [...this.kernel].map(([podIdx, { uid }]) => ({ podIdx, uid }));
  }

  /** The pod's namespace goes, and the keeper notices. */
  podGoes(uid: string): { readonly gone: number | undefined; readonly guarded: number | undefined } {
    const gone = [...this.kernel].find(([, pod]) => pod.uid === uid && (pod.captured || pod.prepared))?.[0];
    if (gone === undefined) return { gone, guarded: undefined };
    this.kernel.delete(gone);
    if (!this.protectedPods.has(uid)) this.names.delete(uid);
    return { gone, guarded: this.protectedPods.has(uid) ? this.#enter(uid) : undefined };
  }

  #enter(uid: string): number {
    const known = [...this.kernel].find(([, pod]) => pod.uid === uid)?.[0];
    if (known !== undefined) return known;
    const podIdx = this.#nextIdx++;
    this.kernel.set(podIdx, { uid, prepared: false, captured: false, failDirect: false, addresses: [] });
    return podIdx;
  }

  /** The CNI plug-in names its namespace. */
  begins(uid: string): number {
    return this.#enter(uid);
  }

  keeperGoes(): void {
    this.connected = false;
  }

  captured(): readonly CapturedPod[] {
    return [...this.kernel].flatMap(([podIdx, { uid, captured }]) => (captured ? [{ podIdx, uid }] : []));
  }

  /** As the keeper takes index and UID together. */
  of({ podIdx, uid }: PodRef): KernelPod | undefined {
    const pod = this.kernel.get(podIdx);
    return pod?.uid === uid ? pod : undefined;
  }

  /** A captured pod of an earlier agent. */
  capturedBefore(uid: string): number {
    const podIdx = this.#nextIdx++;
    this.kernel.set(podIdx, { uid, prepared: false, captured: true, failDirect: false, addresses: [] });
    return podIdx;
  }

  /** What the pod's namespace has. */
  addressesOf(uid: string): readonly string[] {
    return this.namespaceAddresses.get(uid) ?? [];
  }

  /** As the keeper checks addresses. */
  check(uid: string, addresses: readonly string[]): void {
    const absent = addresses.find((address) => this.absent.has(address));
    if (absent !== undefined) throw new KeeperRefused("address-mismatch", `${absent} is not there`);
    const others = [...this.kernel.values()].filter((pod) => pod.uid !== uid);
    if (others.some((pod) => pod.addresses.some((address) => addresses.includes(address)))) {
      throw new KeeperRefused("address-taken", "another pod has it");
    }
  }

  #mesh(): NodeEnrollmentPorts["mesh"] {
    const { workloads, services } = this;
    return {
      get version() {
        return workloads.version;
      },
      workload: (uid) => workloads.get(uid),
      workloadAt: (address) => workloads.values().find(({ addresses }) => addresses.includes(address)),
      rivalsAt: () => [],
      serviceAt: (address) => services.get(address),
      workloadsOnNode: (node) => [...workloads.values()].filter((workload) => workload.node === node),
    };
  }

  #keeper(): NodeEnrollmentPorts["keeper"] {
    const node = this;
    const ask = async (call: string): Promise<void> => {
      node.calls.push(call);
      if (!node.connected) throw new KeeperLost("no keeper");
      const asked = node.#keepers;
      await node.#mayHang(call);
      if (!node.connected || node.#keepers !== asked) throw new KeeperLost("the keeper closed the connection");
    };
    return {
      get connected() {
        return node.connected;
      },
      guard: async (uid, workload) => {
        await ask(`guard ${uid}`);
        node.protectedPods.set(uid, workload);
        node.names.set(uid, workload);
        const podIdx = node.#enter(uid);
        if (node.lateGuards-- > 0) throw new KeeperLost("the keeper did not answer guard in time");
        return podIdx;
      },
      knownOf: async ({ podIdx, uid }) => {
        await ask(`known of ${podIdx}`);
        const pod = node.of({ podIdx, uid });
        return { workload: node.names.get(pod?.uid ?? "") ?? "", addresses: pod?.addresses ?? [] };
      },
      name: async ({ podIdx, uid }, workload) => {
        if (node.older) throw new KeeperRefused("bad-request", "op is none of the operations");
        await ask(`name ${podIdx} ${workload}`);
        const pod = node.of({ podIdx, uid });
        if (pod === undefined) throw new KeeperRefused("not-prepared", "not prepared");
        node.names.set(uid, workload);
      },
      setAddresses: async ({ podIdx, uid }, addresses) => {
        await ask(`addresses ${podIdx} ${addresses}`);
        const pod = node.of({ podIdx, uid });
        if (!pod?.prepared) throw new KeeperRefused("not-prepared", "not prepared");
        node.check(pod.uid, addresses);
        pod.addresses = addresses;
      },
      prepare: async (uid, addresses): Promise<PreparedPod> => {
        await ask(`prepare ${uid}`);
        if (node.missing.has(uid)) throw new KeeperRefused("pod-not-found", "no such cgroup");
        node.check(uid, addresses);
        if ([...node.lent.values()].some((listener) => listener.uid === uid))
          throw new KeeperRefused("listeners-held", "an agent holds them");
        const podIdx = node.#enter(uid);
        const pod = node.kernel.get(podIdx) ?? assert.fail();
        assert.ok(!node.served.has(podIdx), `${uid} is prepared while the threads hold its listeners`);
        pod.prepared = true;
        pod.addresses = addresses.length > 0 ? addresses : node.addressesOf(uid);
        const { captured } = pod;
        const listeners = places.map((place) => ({ ...place, fd: node.#nextFd++ }));
        for (const { kind, fd } of listeners) node.lent.set(fd, { uid, kind });
        return { podIdx, addresses: pod.addresses, netnsCookie: 7n, listeners, captured, preservesSource: false };
      },
      capture: async ({ podIdx, uid }, failDirect) => {
        await ask(`capture ${podIdx}${failDirect ? " direct" : ""}`);
        const pod = node.of({ podIdx, uid });
        if (!pod?.prepared) throw new KeeperRefused("not-prepared", "not prepared");
        assert.ok(node.served.has(podIdx), `${pod.uid} is captured, and no thread serves it`);
        const accepts = node.accepting.get(podIdx)?.has("outbound") === true;
        assert.ok(accepts || pod.captured, `${pod.uid} is captured, and no thread accepts what it dials`);
        assert.ok(node.verdicts.has(podIdx), `${pod.uid} is captured, and has no verdicts`);
        pod.captured = true;
        pod.failDirect = failDirect;
        if (failDirect) node.protectedPods.delete(pod.uid);
        else if (!node.protectedPods.has(pod.uid)) node.protectedPods.set(pod.uid, "");
      },
      release: async ({ podIdx, uid }) => {
        await ask(`release ${podIdx}`);
        const pod = node.of({ podIdx, uid });
        if (pod === undefined) throw new KeeperRefused("not-prepared", "not prepared");
        node.kernel.delete(podIdx);
        node.protectedPods.delete(pod.uid);
        node.names.delete(pod.uid);
      },
      releaseToGuard: async ({ podIdx, uid }, workload) => {
        if (node.older) throw new KeeperRefused("bad-request", "op is none of the operations");
        await ask(`release to guard ${podIdx}`);
        const pod = node.of({ podIdx, uid });
        if (pod === undefined) throw new KeeperRefused("not-prepared", "not prepared");
        node.kernel.set(podIdx, { ...pod, prepared: false, captured: false, addresses: [] });
        node.protectedPods.set(pod.uid, workload);
        node.names.set(pod.uid, workload);
        return podIdx;
      },
      sever: ({ podIdx }) => ask(`sever ${podIdx}`),
    };
  }
}
