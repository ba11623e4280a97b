// main thread · what the API server itself says of a pod that is about to begin. The watches of pods and of namespaces are two, and one may be
// behind the other: a pod that was made after its namespace's label may be here before the label is.
import { AcceptedObjects } from "../accepted-objects.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import type { Ask } from "./api-answer.ts";
import { expectJson, textOf } from "./api-refusal.ts";
import { type ServedObject, servedObject } from "./watch-event.ts";

/** As the mesh names it; `podUid` is that of its cgroup. */
export type NamedPod = { readonly namespace: string; readonly name: string; readonly podUid: string };

/** Without a byte for so long there is no answer, ms. */
const IDLE_MS = 3_000;
/** A namespace that changes faster than it can be read. */
const ATTEMPTS = 8;

/**
 * Whether there was a moment, after this was asked, in which the pod was outside the mesh by all that its labels and its namespace say. A GET
 * without a version reads where writes go, and a pod that is read between two readings of the same version of its namespace was there
 * together with it: two readings alone might make a state that never was.
 * @throws Error when the server does not answer, or the pod is another by now: then nobody knows
 */
export async function wasOutside(
  ask: Ask,
  settings: NodeSettings,
  pod: NamedPod,
  signal: AbortSignal,
): Promise<boolean> {
  const read = (kind: string, path: string): Promise<ServedObject> => readObject(ask, kind, path, signal);
  const namespacePath = `/api/v1/namespaces/${encodeURIComponent(pod.namespace)}`;
  let namespace = await read("Namespace", namespacePath);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = await read("Pod", `${namespacePath}/pods/${encodeURIComponent(pod.name)}`);
    const after = await read("Namespace", namespacePath);
    if (versionOf(after) === versionOf(namespace)) return judged([namespace, found], settings, pod);
    namespace = after;
  }
  throw new Error(`namespace ${pod.namespace} changes all the time`);
}

/** By the reader of the mesh itself. */
function judged(objects: readonly ServedObject[], settings: NodeSettings, { podUid }: NamedPod): boolean {
  const changes = objects.map(({ version, uid, object }) => {
    return { op: "present", apiVersion: "v1", version, uid, object } as const;
  });
  for (const update of new AcceptedObjects(settings).apply(changes)) {
    if (update.kind === "workload" && update.op === "upsert" && update.value.podUid === podUid)
      return update.value.protocol !== "hbone";
  }
  throw new Error(`no pod ${podUid} of this name runs on this node`);
}

async function readObject(ask: Ask, kind: string, path: string, signal: AbortSignal): Promise<ServedObject> {
  const answer = await ask(path, { signal, idleMs: IDLE_MS });
  await expectJson(answer, path);
  return servedObject(await textOf(answer), kind);
}

/** Another namespace of the same name has another UID. */
const versionOf = ({ uid, version }: ServedObject): string => `${uid} ${version.resourceVersion}`;
