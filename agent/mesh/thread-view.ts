// any thread · values as they are kept by the hundred thousand: parts that many have alike are held once, and no text holds the
// file or message it was cut from. Pure but for its memory of what it has seen.
import type { HttpRoute } from "./http-rule.ts";
import type { LimitPolicy } from "./limit-policy.ts";
import type { MeshUpdate } from "./mesh-update.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "./policies.ts";
import type { Service } from "./service.ts";
import { isFilePosition, nowhere, type SourceRef } from "./source-ref.ts";
import type { StreamRoute } from "./stream-route.ts";
import type { Workload } from "./workload.ts";

/** Distinct parts that are remembered; then it begins anew, which costs sharing and nothing else. */
const MOST = 50_000;
/** V8 copies what is shorter. */
const SHORTEST_SLICE = 13;
const noItems: readonly never[] = Object.freeze([]);
const noFields = Object.freeze({});

export class Lean {
  readonly #texts = new Map<string, string>();
  readonly #parts = new Map<string, object>();

  workload(workload: Workload): Workload {
    const name = cut(workload.name);
    return {
      uid: cut(workload.uid),
      podUid: cut(workload.podUid),
      name,
      namespace: this.#text(workload.namespace),
      addresses: workload.addresses.map(cut),
      node: this.#text(workload.node),
      network: this.#text(workload.network),
      cluster: this.#text(workload.cluster),
      identity: this.#part(workload.identity.text, workload.identity),
      labels: this.#part(JSON.stringify(workload.labels), workload.labels),
      // Of a message each is a text of its own.
      protocol: workload.protocol === "hbone" ? "hbone" : "none",
      ports: this.#part(JSON.stringify(workload.ports), workload.ports),
      probePorts: workload.probePorts && this.#part(`ports ${workload.probePorts}`, workload.probePorts),
      removesProxyHeaders: workload.removesProxyHeaders,
      healthy: workload.healthy,
      locality: this.#part(JSON.stringify(workload.locality), workload.locality),
      weight: workload.weight,
      // As a rule the name of a Workload of a file: as a text of many it would be remembered in vain, and kept twice.
      workloadName: workload.workloadName === workload.name ? name : this.#text(workload.workloadName),
      canonicalName: workload.canonicalName === workload.name ? name : this.#text(workload.canonicalName),
      canonicalRevision: this.#text(workload.canonicalRevision),
      from: this.#source(workload.from, name),
    };
  }

  update(update: MeshUpdate): MeshUpdate {
    if (update.op === "remove") return update;
    switch (update.kind) {
      case "workload":
        return { ...update, value: this.workload(update.value) };
      case "service":
        return { ...update, value: this.object(update.value) };
      case "authorization-policy":
        return { ...update, value: this.object(update.value) };
      case "peer-authentication":
        return { ...update, value: this.object(update.value) };
      case "http-route":
        return { ...update, value: this.object(update.value) };
      case "tls-route":
        return { ...update, value: this.object(update.value) };
      case "tcp-route":
        return { ...update, value: this.object(update.value) };
      case "limit-policy":
        return { ...update, value: this.object(update.value) };
    }
  }

  /** Any other object of the mesh. */
  object<T extends Service | AuthorizationPolicy | PeerAuthentication | HttpRoute | StreamRoute | LimitPolicy>(
    value: T,
  ): T {
    return this.#whole(value);
  }

  /** @param own the object's name as it is kept already, which most sources name too */
  #source(from: SourceRef, own: string): SourceRef {
    if (from === nowhere) return nowhere;
    if (isFilePosition(from)) return { file: this.#text(from.file), line: from.line, column: from.column };
    const { kind, namespace, name, resourceVersion } = from;
    return {
      ...{ kind, namespace: this.#text(namespace), name: name === own ? own : cut(name) },
      resourceVersion: cut(resourceVersion),
    };
  }

  #text(text: string): string {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (this.#texts.size >= MOST) this.#texts.clear();
    const own = cut(text);
    this.#texts.set(own, own);
    return own;
  }

  /** @param key tells it from every other part. */
  #part<T extends object>(key: string, part: T): T {
    const known = this.#parts.get(key);
    // Made from a T under this key, and of T's there is one kind per form of key.
    if (known !== undefined) return known as T;
    if (this.#parts.size >= MOST) this.#parts.clear();
    const own = this.#whole(part);
    this.#parts.set(cut(key), own);
    return own;
  }

  /** Plain data, rebuilt: the same fields in the same order. */
  #whole<T>(value: T): T {
    return this.#rebuilt(value) as T;
  }

  #rebuilt(value: unknown): unknown {
    if (typeof value === "string") return this.#text(value);
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.length === 0 ? noItems : value.map((item) => this.#rebuilt(item));
    const names = Object.keys(value);
    if (names.length === 0) return noFields;
    // A copy of the same shape, then its fields: built up field by field it would take more room.
    const own: Record<string, unknown> = { ...value };
    for (const name of names) own[name] = this.#rebuilt(own[name]);
    return own;
  }
}

/** The text alone: what was cut out of another text, or put together of several, holds those in memory. */
export function cut(text: string): string {
  if (text.length < SHORTEST_SLICE) return text;
  const encoding = Buffer.byteLength(text) === text.length ? "latin1" : "utf16le";
  return Buffer.from(text, encoding).toString(encoding);
}
