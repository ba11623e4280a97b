// main thread · the file that keeps what was applied last of a cluster: a header, then batches of objects, each ended by a line with the
// checksum of all bytes before it. A batch counts when its end is there, so that a process that begins finds the whole of it or nothing.
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import type { ObjectVersion } from "../../mesh/source-ref.ts";
import { cut } from "../../mesh/thread-view.ts";
import type { ObjectChange } from "../accepted-objects.ts";
import { withoutDepths } from "../kinds/json-value.ts";
import { keptFieldsDigest } from "../kinds/kept-fields.ts";
import { Turns } from "../static-file/turns.ts";
import { JsonLines } from "./json-lines.ts";

type PresentObject = Extract<ObjectChange, { readonly op: "present" }>;

/** A change as its line in the file, without the line's end: a tenth of the memory of its object, and there may be 100,000 at once. */
export type PackedChange = { readonly key: string; readonly isPresent: boolean; readonly line: string };

/** Where in the file the present version of an object is, in bytes. */
export type Span = { readonly offset: number; readonly length: number };

/** The open file of a copy, in which these objects are. Its owner closes it. */
export type KeptFile = { readonly handle: FileHandle; readonly inode: number; readonly spans: Map<string, Span> };

/** What a process before this one has applied last. */
export type KeptCluster = {
  /** UID of the cluster's namespace kube-system. */
  readonly cluster: string;
  /** RFC 3339. */
  readonly appliedAt: string;
  readonly objects: PackedChange[];
  /** undefined: the file has not exactly what this release would have kept. */
  readonly file: KeptFile | undefined;
};

const VERSION = 1;
const MAX_BYTES = 1024 * 1024 * 1024;

/** The first line of the copy: its version, the cluster's UID, and which fields of objects it keeps. */
export function headerLine(cluster: string): string {
  return `${JSON.stringify({ clusterCopy: VERSION, cluster, keeps: keptFieldsDigest })}\n`;
}

/** @param key the object's, as `objectKey` makes it: the caller has it already, and so it is in memory once. */
export function packed(change: ObjectChange, key = keyOf(change)): PackedChange {
  return { key, isPresent: change.op === "present", line: lineOf(change) };
}

function lineOf(change: ObjectChange): string {
  try {
    return JSON.stringify(change);
  } catch (error) {
    // The stack was not enough: an API server lets fields through that its schema does not know, 10,000 deep.
    if (!(error instanceof RangeError) || change.op !== "present") throw error;
    return JSON.stringify({ ...change, object: withoutDepths(change.object) });
  }
}

/** The changes again, each made when it is asked for. */
export function* unpacked(changes: Iterable<PackedChange>): Generator<ObjectChange> {
  for (const { line } of changes) yield JSON.parse(line);
}

/** As `unpacked`. The list is empty afterwards: what was taken out of it needs no memory while the rest is read. */
export function* emptied(changes: PackedChange[]): Generator<ObjectChange> {
  changes.reverse();
  for (let next = changes.pop(); next !== undefined; next = changes.pop()) yield JSON.parse(next.line);
}

/** @param crc of all bytes before it */
export function endLine(crc: number, appliedAt: string): string {
  return `${JSON.stringify({ end: crc, appliedAt })}\n`;
}

/** By what an object is known: another object has another key. */
export function objectKey({ kind, namespace, name }: Pick<ObjectVersion, "kind" | "namespace" | "name">): string {
  // Put together, a text keeps its parts in memory as well, and there is a key for each of 100,000 objects.
  return cut(`${kind} ${namespace}/${name}`);
}

function keyOf(change: ObjectChange): string {
  return objectKey(change.op === "present" ? change.version : change.object);
}

/**
 * What the file keeps. undefined: there is no file, or what is in it is not what was written. Rejects when the signal is aborted. What
 * follows the last whole batch was being written when the process or the machine ended, and does not count.
 */
export async function readClusterCopy(path: string, signal: AbortSignal): Promise<KeptCluster | undefined> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => undefined);
  if (handle === undefined) return undefined;
  let kept: KeptCluster | undefined;
  try {
    kept = await keptIn(handle, signal);
    return kept;
  } finally {
    if (kept?.file === undefined) await handle.close();
  }
}

async function keptIn(handle: FileHandle, signal: AbortSignal): Promise<KeptCluster | undefined> {
  try {
    const { size, ino } = await handle.stat();
    if (size > MAX_BYTES) return undefined;
    const reading = new Reading();
    let bytes = 0;
    const turns = new Turns(signal);
    const lines = new JsonLines();
    for await (const chunk of handle.createReadStream({ autoClose: false })) {
      bytes += (chunk as Uint8Array).length;
      for (const line of lines.of(chunk as Uint8Array)) {
        if (!reading.take(line)) return undefined;
        await turns.mayPass();
      }
    }
    return reading.kept(bytes, { handle, inode: ino });
  } catch (error) {
    signal.throwIfAborted();
    // Bytes that are no text, or a disk that does not give them: nothing is known then.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

class Reading {
  readonly #objects = new Map<string, PackedChange>();
  readonly #spans = new Map<string, Span>();
  #cluster: string | undefined;
  #keeps: string | undefined;
  #appliedAt: string | undefined;
  #crc = 0;
  /** Bytes of all lines so far. */
  #at = 0;
  #batch: (readonly [PackedChange, Span])[] = [];
  /** A line of the batch under way is no line of such a file. Then its end must not come. */
  #isTorn = false;

  /** @param bytes of the file: where lines do not account for all of them, an object may be elsewhere than it seems */
  kept(bytes: number, file: Omit<KeptFile, "spans">): KeptCluster | undefined {
    if (this.#cluster === undefined || this.#appliedAt === undefined) return undefined;
    const isExact = bytes === this.#at && this.#keeps === keptFieldsDigest;
    return {
      ...{ cluster: this.#cluster, appliedAt: this.#appliedAt, objects: [...this.#objects.values()] },
      file: isExact ? { ...file, spans: this.#spans } : undefined,
    };
  }

  /** False: the file is damaged where it was whole once. */
  take(line: string): boolean {
    const entry = entryOf(line);
    const length = Buffer.byteLength(line) + 1;
    if (entry?.type === "end") {
      if (this.#isTorn || this.#cluster === undefined || entry.end !== this.#crc) return false;
      this.#endBatch(entry.appliedAt);
    } else if (entry?.type === "header") {
      if (this.#cluster !== undefined || this.#crc !== 0) return false;
      this.#cluster = entry.cluster;
      this.#keeps = entry.keeps;
    } else if (entry === undefined || this.#cluster === undefined) this.#isTorn = true;
    else {
      const { change } = entry;
      const packedChange = { key: keyOf(change), isPresent: change.op === "present", line };
      this.#batch.push([packedChange, { offset: this.#at, length }]);
    }
    this.#crc = crc32(`${line}\n`, this.#crc);
    this.#at += length;
    return true;
  }

  #endBatch(appliedAt: string): void {
    for (const [change, span] of this.#batch) {
      if (change.isPresent) {
        this.#objects.set(change.key, change);
        this.#spans.set(change.key, span);
      } else {
        this.#objects.delete(change.key);
        this.#spans.delete(change.key);
      }
    }
    this.#batch = [];
    this.#appliedAt = appliedAt;
  }
}

type Entry =
  | { readonly type: "header"; readonly cluster: string; readonly keeps: string | undefined }
  | { readonly type: "change"; readonly change: ObjectChange }
  | { readonly type: "end"; readonly end: number; readonly appliedAt: string };

function entryOf(line: string): Entry | undefined {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return undefined;
  }
  const { clusterCopy, cluster, keeps, end, appliedAt, ...rest } = recordOf(read);
  if (clusterCopy === VERSION && typeof cluster === "string")
    return { type: "header", cluster, keeps: typeof keeps === "string" ? keeps : undefined };
  if (typeof end === "number" && typeof appliedAt === "string") return { type: "end", end, appliedAt };
  const change = changeOf(rest);
  return change && { type: "change", change };
}

function changeOf({
  op,
  apiVersion,
  version,
  uid,
  object,
}: Readonly<Record<string, unknown>>): ObjectChange | undefined {
  if (op === "deleted") {
    const { kind, namespace, name } = recordOf(object);
    return areTexts(kind, namespace, name)
      ? { op, object: object as { kind: string; namespace: string; name: string } }
      : undefined;
  }
  const { kind, namespace, name, resourceVersion } = recordOf(version);
  if (op !== "present" || !areTexts(kind, namespace, name, resourceVersion, apiVersion, uid)) return undefined;
  return { op, apiVersion, version, uid, object } as PresentObject;
}

function areTexts(...values: readonly unknown[]): boolean {
  return values.every((value) => typeof value === "string");
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
