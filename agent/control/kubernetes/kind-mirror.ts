// main thread · what the server has of one kind, as far as it has been passed on: a new list becomes the difference from what is known,
// and only once it is whole. Pure but for its state.
import type { ObjectVersion } from "../../mesh/source-ref.ts";
import { cut } from "../../mesh/thread-view.ts";
import { keptFields } from "../kinds/kept-fields.ts";
import { objectKey, type PackedChange, packed } from "./copy-file.ts";
import type { ServedObject } from "./watch-event.ts";
import type { WatchedKind } from "./watched-kinds.ts";

/** An object that a process before this one has passed on. */
export type KnownObject = { readonly version: ObjectVersion; readonly uid: string };

/** UID and resourceVersion in one text: of 100,000 objects an object for each would take as much memory again. */
type Known = string;

export class KindMirror {
  readonly #kind: WatchedKind;
  /** By `objectKey`. */
  #known = new Map<string, Known>();
  /** The list under way: everything that it named so far, and of that what differs from what is known. */
  #list: { readonly named: Map<string, Known>; readonly changes: PackedChange[] } | undefined;
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
   * An object that a process before this one has read is what was passed on, before the first list.
   * @param isExact this release would have kept the same of it; otherwise the list says it again, changed or not
   */
  assume({ version, uid }: KnownObject, isExact: boolean): void {
    this.#hadObjects = true;
    this.#known.set(objectKey(version), isExact ? knownOf({ version, uid }) : `${uid} `);
  }

  /** A list begins; what a list before it read is forgotten, if it did not end. */
  beginList(): void {
    this.#list = { named: new Map(), changes: [] };
  }

  listed(served: ServedObject): void {
    if (this.#list === undefined) throw new Error("no list is under way");
    const key = objectKey(served.version);
    this.#list.named.set(key, knownOf(served));
    if (this.#isNews(key, served)) this.#list.changes.push(this.#present(key, served));
  }

  /** The list is whole: what it changes, removals included. */
  endList(): readonly PackedChange[] {
    const list = this.#list;
    if (list === undefined) throw new Error("no list is under way");
    this.#list = undefined;
    this.#synced = true;
    const gone = [...this.#known.keys()].filter((key) => !list.named.has(key));
    this.#known = list.named;
    this.#hadObjects ||= list.named.size > 0;
    return [...gone.map((key) => this.#gone(key)), ...list.changes];
  }

  /** An event of a watch that follows a whole list. Undefined: nothing new, since the server may repeat itself after a reconnect. */
  present(served: ServedObject): PackedChange | undefined {
    const key = objectKey(served.version);
    if (!this.#isNews(key, served)) return undefined;
    this.#hadObjects = true;
    this.#known.set(key, knownOf(served));
    return this.#present(key, served);
  }

  /** Undefined: nothing of it was known. An object's successor of the same name is not taken for it. */
  deleted(served: ServedObject): PackedChange | undefined {
    const key = objectKey(served.version);
    if (!this.#known.get(key)?.startsWith(`${served.uid} `)) return undefined;
    this.#known.delete(key);
    return this.#gone(key);
  }

  /** Versions are opaque; another version is news, whichever of both is newer: the server sends the events of an object in order. */
  #isNews(key: string, served: ServedObject): boolean {
    return this.#known.get(key) !== knownOf(served);
  }

  #present(key: string, { version, uid, object }: ServedObject): PackedChange {
    const { apiVersion } = this.#kind;
    return packed({ op: "present", apiVersion, version, uid, object: keptFields(version.kind, object) }, key);
  }

  #gone(key: string): PackedChange {
    const { kind } = this.#kind;
    const [namespace = "", name = ""] = key.slice(kind.length + 1).split("/");
    return packed({ op: "deleted", object: { kind, namespace, name } }, key);
  }
}

const knownOf = ({ version: { resourceVersion }, uid }: KnownObject): Known => cut(`${uid} ${resourceVersion}`);
