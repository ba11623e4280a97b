// main thread · a line of a watch, or an item of a list → what it says of one object. The server is trusted with what it says, not
// with its form: whatever is not as Kubernetes' API conventions have it ends the watch. Pure.
import type { ObjectVersion } from "../../mesh/source-ref.ts";

/** An object as the server has it. `object` is as JSON.parse made it. */
export type ServedObject = { readonly version: ObjectVersion; readonly uid: string; readonly object: unknown };

export type WatchEvent =
  | { readonly type: "present"; readonly served: ServedObject }
  | { readonly type: "deleted"; readonly served: ServedObject }
  /** Nothing older than this version will come. `endsList`: what came before is all there is (a streaming list). */
  | { readonly type: "bookmark"; readonly resourceVersion: string; readonly endsList: boolean }
  /** The server ends the watch. `code`: as an HTTP status; 410: it no longer has what the client asks for. */
  | { readonly type: "error"; readonly code: number; readonly message: string };

/** The server's answer is not what its API promises. */
export class StrangeAnswer extends Error {}

/** On the bookmark behind the last object of a streaming list (KEP-3157). */
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

/** @throws StrangeAnswer */
export function watchEvent(line: string, kind: string): WatchEvent {
  const event = recordOf(parsed(line), "an event");
  const object = recordOf(event.object, "an event's object");
  switch (event.type) {
    case "ADDED":
    case "MODIFIED":
      return { type: "present", served: served(object, kind) };
    case "DELETED":
      return { type: "deleted", served: served(object, kind) };
    case "BOOKMARK": {
      const metadata = recordOf(object.metadata, "a bookmark's metadata");
      const annotations = metadata.annotations === undefined ? {} : recordOf(metadata.annotations, "annotations");
      const resourceVersion = textOf(metadata.resourceVersion, "a bookmark's resourceVersion");
      return { type: "bookmark", resourceVersion, endsList: annotations[INITIAL_EVENTS_END] === "true" };
    }
    case "ERROR": {
      const { code, message } = object;
      return { type: "error", code: typeof code === "number" ? code : 0, message: String(message ?? "") };
    }
    default:
      throw new StrangeAnswer(`an event of type ${JSON.stringify(event.type)?.slice(0, 40)}`);
  }
}

export type Page = {
  readonly items: readonly ServedObject[];
  readonly resourceVersion: string;
  /** Where the next page begins; empty: this is the last. */
  readonly next: string;
};

/** @throws StrangeAnswer */
export function page(text: string, kind: string): Page {
  const list = recordOf(parsed(text), "a list");
  if (list.kind !== `${kind}List`) throw new StrangeAnswer(`a list of ${kind} is called ${JSON.stringify(list.kind)}`);
  // An empty list may be null: Go writes it so.
  if (list.items !== null && !Array.isArray(list.items)) throw new StrangeAnswer("a list without items");
  const metadata = recordOf(list.metadata, "a list's metadata");
  return {
    items: (list.items ?? []).map((item: unknown) => served(recordOf(item, "an item"), kind)),
    resourceVersion: textOf(metadata.resourceVersion, "a list's resourceVersion"),
    next: metadata.continue === undefined ? "" : String(metadata.continue),
  };
}

/**
 * An object that was asked for by its name.
 * @throws StrangeAnswer
 */
export function servedObject(text: string, kind: string): ServedObject {
  return served(recordOf(parsed(text), "an object"), kind);
}

function served(object: Readonly<Record<string, unknown>>, kind: string): ServedObject {
  // The items of a list have no kind; what has another kind is not what was asked for.
  if (object.kind !== undefined && object.kind !== kind)
    throw new StrangeAnswer(`${JSON.stringify(object.kind)} among objects of kind ${kind}`);
  const metadata = recordOf(object.metadata, "an object's metadata");
  const version = {
    kind,
    namespace: metadata.namespace === undefined ? "" : textOf(metadata.namespace, "a namespace"),
    name: textOf(metadata.name, "an object's name"),
    resourceVersion: textOf(metadata.resourceVersion, "an object's resourceVersion"),
  };
  return { version, uid: textOf(metadata.uid, "an object's uid"), object };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new StrangeAnswer(`no JSON, but ${JSON.stringify(text.slice(0, 80))}`);
  }
}

function recordOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new StrangeAnswer(`${what} is no JSON object`);
}

function textOf(value: unknown, what: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw new StrangeAnswer(`${what} is missing`);
}
