// main thread · what the server has of one kind, as far as it has been passed on: a new list becomes the difference from what is known,
// and only once it is whole. Pure but for its state.
import type { ObjectVersion } from "../../mesh/source-ref.ts";
import type { ObjectChange } from "../accepted-objects.ts";
import { keptFields } from "../kinds/kept-fields.ts";
import type { ServedObject } from "./watch-event.ts";
import type { WatchedKind } from "./watched-kinds.ts";

type Known = { readonly uid: string; readonly resourceVersion: string };

export class KindMirror {
  readonly #kind: WatchedKind;
  readonly #known = new Map<string, Known>();
  /** The list under way: everything that it named so far, and of that what differs from what is known. */
  #list: { readonly named: Set<string>; readonly changes: ObjectChange[] } | undefined;
  #synced = false;
  #hadObjects = false;

  constructor(kind: WatchedKind) {
    this.#kind = kind;
  }

  /** A list was whole at least once. */
  get synced(): boolean {
    return this.#synced;
  }

  /** The server had objects of the kind at some time, so that it cannot be unknown to it. */
  get hadObjects(): boolean {
    return this.#hadObjects;
  }

  /** The kind has been taken away from the cluster, objects and all. */
  forget(): void {
    this.#hadObjects = false;
  }

  get kind(): string {
    return this.#kind.kind;
  }

  get size(): number {
    return this.#known.size;
  }

  /**
   * What a process before this one has read is what was passed on, before the first list. The list says all of it again, changed or not:
   * this release may read more of an object than was kept.
   */
  assume(objects: readonly { readonly version: ObjectVersion; readonly uid: string }[]): void {
    for (const { version, uid } of objects) {
      if (version.kind !== this.#kind.kind) continue;
      this.#hadObjects = true;
      this.#known.set(`${version.namespace}/${version.name}`, { uid, resourceVersion: "" });
    }
  }

  /** A list begins; what a list before it read is forgotten, if it did not end. */
  beginList(): void {
    this.#list = { named: new Set(), changes: [] };
  }

  listed(served: ServedObject): void {
    if (this.#list === undefined) throw new Error("no list is under way");
    this.#list.named.add(keyOf(served));
    if (this.#isNews(served)) this.#list.changes.push(this.#present(served));
  }

  /** The list is whole: what it changes, removals included. */
  endList(): readonly ObjectChange[] {
    const list = this.#list;
    if (list === undefined) throw new Error("no list is under way");
    this.#list = undefined;
    this.#synced = true;
    const gone = [...this.#known.keys()].filter((key) => !list.named.has(key));
    const changes = [...gone.map((key) => this.#gone(key)), ...list.changes];
    for (const change of changes) this.#note(change);
    return changes;
  }

  /** An event of a watch that follows a whole list. Undefined: nothing new, since the server may repeat itself after a reconnect. */
  present(served: ServedObject): ObjectChange | undefined {
    if (!this.#isNews(served)) return undefined;
    const change = this.#present(served);
    this.#note(change);
    return change;
  }

  /** Undefined: nothing of it was known. An object's successor of the same name is not taken for it. */
  deleted(served: ServedObject): ObjectChange | undefined {
    const key = keyOf(served);
    if (this.#known.get(key)?.uid !== served.uid) return undefined;
    const change = this.#gone(key);
    this.#note(change);
    return change;
  }

  /** Versions are opaque; another version is news, whichever of both is newer: the server sends the events of an object in order. */
  #isNews(served: ServedObject): boolean {
    const known = this.#known.get(keyOf(served));
    return known?.uid !== served.uid || known.resourceVersion !== served.version.resourceVersion;
  }

  #present({ version, uid, object }: ServedObject): ObjectChange {
    return { op: "present", apiVersion: this.#kind.apiVersion, version, uid, object: keptFields(version.kind, object) };
  }

  #gone(key: string): ObjectChange {
    const slash = key.indexOf("/");
    return {
      op: "deleted",
      object: { kind: this.#kind.kind, namespace: key.slice(0, slash), name: key.slice(slash + 1) },
    };
  }

  #note(change: ObjectChange): void {
    if (change.op === "deleted") {
      this.#known.delete(`${change.object.namespace}/${change.object.name}`);
      return;
    }
    const { namespace, name, resourceVersion } = change.version;
    this.#hadObjects = true;
    this.#known.set(`${namespace}/${name}`, { uid: change.uid, resourceVersion });
  }
}

const keyOf = ({ version: { namespace, name } }: ServedObject): string => `${namespace}/${name}`;
