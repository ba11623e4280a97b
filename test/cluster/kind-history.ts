// test cluster · every state that a kind has had, as kubectl reads it of the API server without a proxy in between.
import { once } from "node:events";
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

const MAX_RESTARTS = 20;

export class KindHistory {
  readonly #kubectl: Kubectl;
  readonly #url: string;
  readonly #present: Map<string, Metadata>;
  /** A state comes again when an object has come and gone. */
  readonly #states: string[] = [];
  #version: string;
  #child: ReturnType<Kubectl["stream"]> | undefined;
  #restarts = 0;
  #isClosed = false;
  /** Why the history cannot go on; empty: it does. */
  broken = "";

  /** @param url path of the kind, with the selector that the agent uses too */
  constructor(kubectl: Kubectl, url: string) {
    this.#kubectl = kubectl;
    this.#url = url;
    const { metadata, items } = JSON.parse(kubectl.raw(url)) as ObjectList;
    this.#present = new Map(items.map((item) => [keyOf(item.metadata), item.metadata]));
    this.#version = metadata.resourceVersion;
    this.#note();
    this.#watch();
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
    this.#isClosed = true;
    this.#child?.kill();
  }

  /** From the last version on. A server that ends a watch has lost nothing of what came after it. */
  #watch(): void {
    const from = `watch=true&timeoutSeconds=3600&resourceVersion=${this.#version}`;
    const child = this.#kubectl.stream(withQuery(this.#url, from));
    this.#child = child;
    let said = "";
    child.stderr.on("data", (data) => {
      said += data;
    });
    // Its lines are all read before it is closed.
    const lines = createInterface({ input: child.stdout });
    const read = once(lines, "close");
    lines.on("line", (line) => this.#take(line));
    child.once("error", (error) => {
      this.broken = error.message;
    });
    child.once("close", async (status) => {
      await read;
      if (this.#isClosed || this.broken !== "") return;
      this.#restarts += 1;
      if (this.#restarts > MAX_RESTARTS) this.broken = `kubectl ended with ${status}: ${said}`;
      else this.#watch();
    });
  }

  #take(line: string): void {
    const happening = happeningIn(line);
    if (this.#isClosed || happening === undefined) return;
    const { type, object } = happening;
    if (type === "ERROR") {
      this.broken = line;
      return;
    }
    if (type === "DELETED") this.#present.delete(keyOf(object.metadata));
    else this.#present.set(keyOf(object.metadata), object.metadata);
    this.#version = object.metadata.resourceVersion;
    this.#note();
  }

  #note(): void {
    this.#states.push(stateText(this.#present.values()));
  }
}

/** undefined: the line was cut off with the watch, and the next watch brings it again. */
function happeningIn(line: string): Happening | undefined {
  try {
    return JSON.parse(line) as Happening;
  } catch {
    return undefined;
  }
}

const withQuery = (url: string, query: string): string =>
  query === "" ? url : `${url}${url.includes("?") ? "&" : "?"}${query}`;
