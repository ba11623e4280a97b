// test cluster · every state that a kind has had, as kubectl reads it of the API server without a proxy in between.
import { createInterface } from "node:readline";
import type { Kubectl } from "./kubectl.ts";

type Metadata = {
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
};
type ObjectList = {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly { readonly metadata: Metadata }[];
};
type Happening = { readonly type: string; readonly object: { readonly metadata: Metadata } };

/** The objects of a kind with their versions, in one text: equal texts are the same state. */
export function stateText(objects: Iterable<Metadata>): string {
  return [...objects]
    .map((each) => `${keyOf(each)} ${each.uid} ${each.resourceVersion}`)
    .sort()
    .join("\n");
}

export const keyOf = ({ namespace = "", name }: Pick<Metadata, "namespace" | "name">): string => `${namespace}/${name}`;

/** A list as it is now, or as it was at a version. */
export function listed(
  kubectl: Kubectl,
  url: string,
  version = "",
): { readonly state: string; readonly version: string } {
  const exact = version === "" ? "" : `resourceVersion=${version}&resourceVersionMatch=Exact`;
  const { metadata, items } = JSON.parse(kubectl.raw(withQuery(url, exact))) as ObjectList;
  return { state: stateText(items.map((item) => item.metadata)), version: metadata.resourceVersion };
}

export class KindHistory {
  /** A state comes again when an object has come and gone. */
  readonly #states: string[] = [];
  readonly #close: () => void;
  /** Why the history has ended before it was closed; empty: it has not. */
  broken = "";

  /** @param url path of the kind, with the selector that the agent uses too */
  constructor(kubectl: Kubectl, url: string) {
    const { metadata, items } = JSON.parse(kubectl.raw(url)) as ObjectList;
    const present = new Map(items.map((item) => [keyOf(item.metadata), item.metadata]));
    const note = (): void => void this.#states.push(stateText(present.values()));
    note();
    const from = `watch=true&timeoutSeconds=3600&resourceVersion=${metadata.resourceVersion}`;
    const child = kubectl.stream(withQuery(url, from));
    let isClosed = false;
    let said = "";
    child.stderr.on("data", (data) => {
      said += data;
    });
    child.once("close", (status) => {
      if (!isClosed) this.broken = `kubectl ended with ${status}: ${said}`;
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { type, object } = JSON.parse(line) as Happening;
      if (type === "ERROR") this.broken = line;
      else if (type === "DELETED") present.delete(keyOf(object.metadata));
      else present.set(keyOf(object.metadata), object.metadata);
      note();
    });
    this.#close = () => {
      isClosed = true;
      child.kill();
    };
  }

  get length(): number {
    return this.#states.length;
  }

  /** The last state that kubectl has heard of. */
  get last(): string {
    return this.#states.at(-1) ?? "";
  }

  /** Place of the state in the history, at `from` or behind; -1: the kind has not been so since. */
  placeOf(state: string, from: number): number {
    return this.#states.indexOf(state, from);
  }

  close(): void {
    this.#close();
  }
}

const withQuery = (url: string, query: string): string =>
  query === "" ? url : `${url}${url.includes("?") ? "&" : "?"}${query}`;
