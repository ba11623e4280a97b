// keeper · network namespaces of pods that have no process yet, as the CNI plug-in has named them. The keeper holds each until it finds
// a process of the pod, or the plug-in says that the namespace goes.
import { closeSync, fstatSync, openSync } from "node:fs";
import { type NamespaceId, sameNamespace, type UnbornNamespace } from "./pods.ts";
import type { RuntimeName } from "./protocol.ts";

/** `called`: undefined where the runtime has not said it. */
type UnbornPod = {
  readonly container: string;
  readonly netns: NamespaceId;
  readonly netnsFd: number;
  readonly called: RuntimeName | undefined;
};

export class UnbornPods {
  /** By UID. */
  readonly #pods = new Map<string, UnbornPod>();

  /** In place of what was known of the pod. `container`: its sandbox. Owns the descriptor from here on. */
  set(uid: string, container: string, netnsFd: number, called?: RuntimeName): NamespaceId {
    this.delete(uid);
    const { dev, ino } = fstatSync(netnsFd, { bigint: true });
    this.#pods.set(uid, { container, netns: { dev, ino }, netnsFd, called });
    return { dev, ino };
  }

  calledOf(uid: string): RuntimeName | undefined {
    return this.#pods.get(uid)?.called;
  }

  /** The caller closes the descriptor. */
  open(uid: string): UnbornNamespace | undefined {
    const pod = this.#pods.get(uid);
    return pod && { netns: pod.netns, netnsFd: openSync(`/proc/self/fd/${pod.netnsFd}`, "r") };
  }

  /** Is this the namespace that was named for the pod? */
  has(uid: string, netns: NamespaceId): boolean {
    const pod = this.#pods.get(uid);
    return pod !== undefined && sameNamespace(pod.netns, netns);
  }

  /** False: it is another sandbox that is known of the pod, or none. */
  end(uid: string, container: string): boolean {
    return this.#pods.get(uid)?.container === container && this.delete(uid);
  }

  /** False: nothing was known of it. */
  delete(uid: string): boolean {
    const pod = this.#pods.get(uid);
    if (pod !== undefined) closeSync(pod.netnsFd);
    return this.#pods.delete(uid);
  }

  /** Forgets the pods of which nothing else is known. */
  keep(isKnown: (uid: string) => boolean): void {
    for (const uid of [...this.#pods.keys()]) if (!isKnown(uid)) this.delete(uid);
  }

  close(): void {
    this.keep(() => false);
  }
}
