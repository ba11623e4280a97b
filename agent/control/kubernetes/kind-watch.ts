// main thread · follows one kind of a server: a list, then the changes after it, again and again. What was known stays in force
// whatever the server answers, until a whole list says otherwise.
import { type BackoffOptions, backoffMs } from "../../backoff.ts";
import type { ObjectChange } from "../accepted-objects.ts";
import type { ApiAnswer, Ask } from "./api-answer.ts";
import { JsonLines } from "./json-lines.ts";
import { KindMirror } from "./kind-mirror.ts";
import { page, StrangeAnswer, type WatchEvent, watchEvent } from "./watch-event.ts";
import type { WatchedKind } from "./watched-kinds.ts";

/** What the agent does about the kind just now. `why` is for an operator; empty while all is well. */
export type KindState = { readonly state: "listing" | "watching" | "away"; readonly why: string };

export type KindWatchPorts = {
  readonly ask: Ask;
  /** Rejects when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** In [0, 1). */
  readonly random: () => number;
  /** Changes that belong together, in their order; none, after a list that changed nothing. */
  readonly changed: (changes: readonly ObjectChange[]) => void;
  readonly noted: (state: KindState) => void;
};

/** Objects of a page of a list. */
const PAGE = 500;
const MAX_PAGE_BYTES = 64 * 1024 * 1024;
/** Of lists and of all other short answers, ms. */
const ANSWER_IDLE_MS = 30_000;
/** The server ends a watch after a time that is drawn from here, so that not all nodes come again at once, seconds. */
const WATCH_S = { least: 300, most: 600 };
/** A server that says nothing for longer than it was asked to watch does not live, ms. */
const WATCH_GRACE_MS = 30_000;
const retry: BackoffOptions = { baseMs: 500, capMs: 30_000 };
const MAX_RETRY_AFTER_MS = 120_000;
/** A kind that the cluster lacks is looked for again after so long, ms. */
const ABSENT_MS = 30_000;

/** The server answered, and not with what was asked for. */
class Refused extends Error {
  readonly status: number;
  readonly retryAfterMs: number | null;

  constructor({ status, retryAfterMs }: Pick<ApiAnswer, "status" | "retryAfterMs">, what: string) {
    super(`${what}: HTTP status ${status}`);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** How a watch ended. "no-list": the server cannot begin a watch with a list. */
type Ended = "silent" | "spoke" | "no-list";

/** The agent itself has failed: no answer of a server is a reason to go on. */
class Defect extends Error {}

export class KindWatch {
  readonly mirror: KindMirror;
  readonly #kind: WatchedKind;
  readonly #ports: KindWatchPorts;
  /** Where the next watch begins; empty: with a list. */
  #version = "";
  /** The server can send a list as the beginning of a watch (Kubernetes 1.32, KEP-3157). */
  #streams = true;
  #failures = 0;

  constructor(kind: WatchedKind, ports: KindWatchPorts) {
    this.#kind = kind;
    this.#ports = ports;
    this.mirror = new KindMirror(kind);
  }

  /** Resolves when the signal is aborted. Rejects when `changed` has thrown. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let waitMs: number;
      try {
        waitMs = await this.#turn(signal);
      } catch (error) {
        if (error instanceof Defect) throw error.cause;
        if (signal.aborted) return;
        waitMs = this.#failed(error);
      }
      await this.#ports.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  /** One watch, after a list where one is due. Returns how long to wait before the next. */
  async #turn(signal: AbortSignal): Promise<number> {
    if (this.#version === "") {
      this.#ports.noted({ state: "listing", why: "" });
      const streamed = this.#streams ? await this.#watch(signal, true) : "no-list";
      if (streamed !== "no-list") return this.#pauseMs(streamed);
      if (!(await this.#listPages(signal))) return ABSENT_MS;
    }
    this.#ports.noted({ state: "watching", why: "" });
    return this.#pauseMs(await this.#watch(signal, false));
  }

  /** A watch that said nothing at all may end as fast as it is asked for. */
  #pauseMs(ended: Ended): number {
    return ended === "silent" ? this.#backoffMs() : 0;
  }

  /** How long to wait, ms. */
  #failed(error: unknown): number {
    const status = error instanceof Refused ? error.status : 0;
    // The server has forgotten the version, or its answer makes no sense: a list says what there is now.
    if (status === 410 || error instanceof StrangeAnswer) this.#version = "";
    this.#ports.noted({ state: "away", why: error instanceof Error ? error.message : String(error) });
    const asked = error instanceof Refused ? (error.retryAfterMs ?? 0) : 0;
    return Math.max(this.#backoffMs(), Math.min(asked, MAX_RETRY_AFTER_MS));
  }

  #backoffMs(): number {
    return backoffMs(this.#failures++, retry, this.#ports.random);
  }

  #changed(changes: readonly ObjectChange[]): void {
    try {
      this.#ports.changed(changes);
    } catch (error) {
      throw new Defect("changes were not taken", { cause: error });
    }
  }

  /** Resolves when the watch has ended in order, or cannot begin with a list. */
  async #watch(signal: AbortSignal, withList: boolean): Promise<Ended> {
    const seconds = Math.round(WATCH_S.least + (WATCH_S.most - WATCH_S.least) * this.#ports.random());
    const begin = withList
      ? "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
      : `resourceVersion=${this.#version}`;
    const query = `watch=true&allowWatchBookmarks=true&timeoutSeconds=${seconds}&${begin}`;
    const answer = await this.#ask(query, signal, seconds * 1_000 + WATCH_GRACE_MS);
    if (withList && [400, 403, 422].includes(answer.status)) {
      this.#streams = false;
      await textOf(answer);
      return "no-list";
    }
    await this.#expectJson(answer, "watch");
    if (withList) this.mirror.beginList();
    let listing = withList;
    let ended: Ended = "silent";
    const lines = new JsonLines();
    for await (const chunk of answer.body) {
      const changes: ObjectChange[] = [];
      let listed = false;
      for (const line of lines.of(chunk)) {
        const event = watchEvent(line, this.#kind.kind);
        ended = "spoke";
        if (event.type === "error") {
          // What came before it in the same chunk counts.
          if (changes.length > 0) this.#changed(changes);
          throw new Refused({ status: event.code, retryAfterMs: null }, `the server ends the watch: ${event.message}`);
        }
        if (listing) {
          const ended = this.#listedBy(event);
          if (ended === undefined) continue;
          changes.push(...ended);
          listing = false;
          listed = true;
        } else this.#follow(event, changes);
        this.#version = versionOf(event);
      }
      if (listed || changes.length > 0) this.#changed(changes);
      // The server works, also if the next watch fails.
      if (!listing) this.#failures = 0;
      if (listed) this.#ports.noted({ state: "watching", why: "" });
    }
    if (lines.isTorn || listing) throw new Error("the server's answer ends in the middle");
    return ended;
  }

  /** The changes of a streaming list, when this event is its end. */
  #listedBy(event: Exclude<WatchEvent, { readonly type: "error" }>): readonly ObjectChange[] | undefined {
    if (event.type === "present") this.mirror.listed(event.served);
    if (event.type === "deleted") throw new StrangeAnswer("an object goes before the list of all objects has ended");
    return event.type === "bookmark" && event.endsList ? this.mirror.endList() : undefined;
  }

  #follow(event: Exclude<WatchEvent, { readonly type: "error" }>, changes: ObjectChange[]): void {
    if (event.type === "bookmark") return;
    const change = event.type === "present" ? this.mirror.present(event.served) : this.mirror.deleted(event.served);
    if (change !== undefined) changes.push(change);
  }

  /** False: the cluster has no such kind, and never had objects of it. */
  async #listPages(signal: AbortSignal): Promise<boolean> {
    let next = "";
    let version = "";
    this.mirror.beginList();
    do {
      const from = next === "" ? "" : `&continue=${encodeURIComponent(next)}`;
      const answer = await this.#ask(`limit=${PAGE}${from}`, signal, ANSWER_IDLE_MS);
      if (answer.status === 404 && this.#kind.isCustom) return this.#isAbsent(answer, signal);
      await this.#expectJson(answer, "list");
      const read = page(await textOf(answer), this.#kind.kind);
      for (const served of read.items) this.mirror.listed(served);
      next = read.next;
      version = read.resourceVersion;
    } while (next !== "");
    this.#failures = 0;
    this.#changed(this.mirror.endList());
    this.#version = version;
    return true;
  }

  /**
   * The server does not know the path. It says so also of a kind whose definition it is just setting up, or no longer serves in this
   * version: only a kind of which nothing was ever known, and which the server does not name, is empty.
   */
  async #isAbsent(notFound: ApiAnswer, signal: AbortSignal): Promise<false> {
    await textOf(notFound);
    const { path, kind, apiVersion } = this.#kind;
    if (this.mirror.hadObjects) throw new Refused(notFound, `${kind} is no longer served as ${apiVersion}`);
    const group = path.slice(0, path.lastIndexOf("/"));
    const answer = await this.#ports.ask(group, { signal, idleMs: ANSWER_IDLE_MS });
    if (answer.status !== 404) {
      await this.#expectJson(answer, "discovery");
      if (namesResource(await textOf(answer), path.slice(path.lastIndexOf("/") + 1)))
        throw new Refused(notFound, `${kind} is named by the server and not served`);
    } else await textOf(answer);
    this.#failures = 0;
    this.mirror.beginList();
    this.#changed(this.mirror.endList());
    this.#ports.noted({ state: "watching", why: "" });
    return false;
  }

  #ask(query: string, signal: AbortSignal, idleMs: number): Promise<ApiAnswer> {
    const { path, selector } = this.#kind;
    return this.#ports.ask(`${path}?${[selector, query].filter((part) => part !== "").join("&")}`, { signal, idleMs });
  }

  /** @throws Refused when it is no success; StrangeAnswer when it is no JSON: a captive portal's page is no data */
  async #expectJson(answer: ApiAnswer, what: string): Promise<void> {
    if (answer.status === 200 && answer.contentType === "application/json") return;
    const text = await textOf(answer).catch(() => "");
    const begins = JSON.stringify(text.slice(0, 120));
    if (answer.status !== 200) throw new Refused(answer, `${what} of ${this.#kind.kind}: ${begins}`);
    throw new Error(`${what} of ${this.#kind.kind} is ${answer.contentType}: ${begins}`);
  }
}

function versionOf(event: Exclude<WatchEvent, { readonly type: "error" }>): string {
  return event.type === "bookmark" ? event.resourceVersion : event.served.version.resourceVersion;
}

/** @throws when the text is no list of resources: nothing can be said then */
function namesResource(text: string, plural: string): boolean {
  const read: unknown = JSON.parse(text);
  const resources = typeof read === "object" && read !== null && "resources" in read ? read.resources : undefined;
  if (!Array.isArray(resources)) throw new StrangeAnswer("discovery without resources");
  return resources.some((resource) => resource?.name === plural);
}

async function textOf({ body }: ApiAnswer): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_PAGE_BYTES) throw new Error(`an answer of over ${MAX_PAGE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
