// main thread · follows one kind of a server: a list, then the changes after it, again and again. What was known stays in force
// whatever the server answers, until a whole list says otherwise.
import { type BackoffOptions, backoffMs } from "../../attempts/backoff.ts";
import { AbsentKind } from "./absent-kind.ts";
import { type ApiAnswer, type Ask, ServerLeaves, Silence } from "./api-answer.ts";
import { expectJson, Refused, textOf } from "./api-refusal.ts";
import type { PackedChange } from "./copy-file.ts";
import { JsonLines } from "./json-lines.ts";
import { KindMirror } from "./kind-mirror.ts";
import { MuteWatches } from "./mute-watches.ts";
import { page, StrangeAnswer, type WatchEvent, watchEvent } from "./watch-event.ts";
import type { WatchedKind } from "./watched-kinds.ts";

/** What the agent does about the kind just now. `why` is for an operator; empty while all is well. */
export type KindState = { readonly state: "listing" | "watching" | "away"; readonly why: string };

export type KindWatchPorts = {
  readonly ask: Ask;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  /** Rejects when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** In [0, 1). */
  readonly random: () => number;
  /** Changes that belong together, in their order; none, after a list that changed nothing. */
  readonly changed: (changes: readonly PackedChange[]) => void;
  readonly noted: (state: KindState) => void;
};

/** Objects of a page of a list. */
const PAGE = 250;
/** Of lists and of all other short answers, ms. */
const ANSWER_IDLE_MS = 30_000;
/** The server ends a watch after a time that is drawn from here, so that not all nodes come again at once, seconds. */
const WATCH_S = { least: 300, most: 600 };
/**
 * What is between agent and server may answer the connection's PINGs and bring a watch nothing any more: a watch that says nothing for so
 * long is asked for anew, ms. API servers send a bookmark each minute (kubernetes: apiserver/pkg/storage/cacher/cacher.go).
 */
const WATCH_QUIET_MS = 90_000;
const retry: BackoffOptions = { baseMs: 500, capMs: 30_000 };
const MAX_RETRY_AFTER_MS = 120_000;
/** A kind that the cluster lacks is looked for again after so long, ms. */
const ABSENT_LOOK_MS = 5_000;
/** Its absence is looked into after so long, ms: the server may have another version of it. */
const ABSENT_MS = 30_000;

/** A kind is woken so often at most, so that a kind that comes and goes does not make all others ask, ms. */
const WAKE_MS = 5_000;

/** How a watch ended. "no-list": the server cannot begin a watch with a list. */
type Ended = "silent" | "spoke" | "no-list";

/** A watch under way. `listing`: what is read is a list, whose end has not come. */
type Watching = { readonly lines: JsonLines; listing: boolean; ended: Ended };

/** The agent itself has failed: no answer of a server is a reason to go on. */
class Defect extends Error {}

export class KindWatch {
  readonly mirror: KindMirror;
  readonly #kind: WatchedKind;
  readonly #ports: KindWatchPorts;
  readonly #absent: AbsentKind;
  /** Of the version that the server has: an older version of the kind is at another path. */
  #path: string;
  /** Where the next watch begins; empty: with a list. */
  #version = "";
  /** The server can send a list as the beginning of a watch (Kubernetes 1.32, KEP-3157). */
  #streams = true;
  readonly #mute = new MuteWatches();
  #failures = 0;
  /** When the kind's absence was last looked into, monotonic, ms. */
  #absentMs = Number.NEGATIVE_INFINITY;
  /** Ends the wait that is under way. */
  #sleeping: AbortController | undefined;
  /** The server has said how long to wait (Retry-After). */
  #isAsked = false;
  #wokenMs = Number.NEGATIVE_INFINITY;

  constructor(kind: WatchedKind, ports: KindWatchPorts) {
    this.#kind = kind;
    this.#ports = ports;
    this.#absent = new AbsentKind(kind, ports);
    this.#path = kind.path;
    this.mirror = new KindMirror(kind);
  }

  /** Another kind was read: if this kind waits only because the server did not answer, it asks again now. */
  wake(): void {
    const nowMs = this.#ports.nowMs();
    if (nowMs - this.#wokenMs < WAKE_MS) return;
    this.#wokenMs = nowMs;
    this.#sleeping?.abort();
  }

  /** Resolves when the signal is aborted. Rejects when `changed` has thrown. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let waitMs: number;
      this.#isAsked = false;
      try {
        waitMs = await this.#turn(signal);
      } catch (error) {
        if (error instanceof Defect) throw error.cause;
        if (signal.aborted) return;
        waitMs = this.#failed(error);
      }
      const woken = new AbortController();
      this.#sleeping = this.#isAsked ? undefined : woken;
      await this.#ports.sleep(waitMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined);
      this.#sleeping = undefined;
    }
  }

  /** One watch, after a list where one is due. Returns how long to wait before the next. */
  async #turn(signal: AbortSignal): Promise<number> {
    if (this.#version === "") {
      if (await this.#isStillAbsent(signal)) return ABSENT_LOOK_MS;
      this.#ports.noted({ state: "listing", why: "" });
      const streamed = this.#streams && !this.#mute.isMute ? await this.#watch(signal, true) : "no-list";
      if (streamed !== "no-list") return this.#pauseMs(streamed);
      if (!(await this.#listPages(signal))) return ABSENT_LOOK_MS;
    }
    return this.#pauseMs(await this.#watch(signal, false));
  }

  /** A watch that said nothing at all may end as fast as it is asked for. */
  #pauseMs(ended: Ended): number {
    return ended === "silent" ? this.#backoffMs() : 0;
  }

  /** How long to wait, ms. */
  #failed(error: unknown): number {
    const status = error instanceof Refused ? error.status : 0;
    // The server has forgotten the version or the kind, its answer makes no sense, or no change comes: a list says what there is now.
    if (status === 410 || status === 404 || error instanceof StrangeAnswer || this.#mute.isListDue) this.#version = "";
    this.#ports.noted({ state: "away", why: error instanceof Error ? error.message : String(error) });
    const asked = error instanceof Refused ? (error.retryAfterMs ?? 0) : 0;
    this.#isAsked = asked > 0;
    return Math.max(this.#backoffMs(), Math.min(asked, MAX_RETRY_AFTER_MS));
  }

  #backoffMs(): number {
    return backoffMs(this.#failures++, retry, this.#ports.random);
  }

  #changed(changes: readonly PackedChange[]): void {
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
    const answer = await this.#ask(query, signal, WATCH_QUIET_MS);
    if (withList && [400, 403, 422].includes(answer.status)) {
      this.#streams = false;
      await textOf(answer);
      return "no-list";
    }
    // A list says what its absence means.
    if (withList && answer.status === 404 && this.#kind.isCustom) {
      await textOf(answer);
      return "no-list";
    }
    await this.#expectJson(answer, "watch");
    if (withList) this.mirror.beginList();
    else if (!this.#mute.isMute) this.#ports.noted({ state: "watching", why: "" });
    const watching: Watching = { lines: new JsonLines(), listing: withList, ended: "silent" };
    const beganMs = this.#ports.nowMs();
    let isAtOnce = false;
    try {
      // In a method of its own: what a loop has read would be kept until the next chunk comes, also a whole list.
      for await (const chunk of answer.body) this.#read(chunk, watching);
    } catch (error) {
      const isOrderly = error instanceof Silence || error instanceof ServerLeaves;
      if (!isOrderly || watching.lines.isTorn || watching.listing) throw error;
      // It took long enough that it may be asked for at once.
      isAtOnce = true;
    } finally {
      if (watching.ended === "silent") this.#mute.ended(this.#ports.nowMs() - beganMs);
    }
    if (watching.lines.isTorn || watching.listing) throw new Error("the server's answer ends in the middle");
    if (this.#mute.isListDue) throw new Error(`watches of ${this.#kind.kind} bring nothing, not even a bookmark`);
    return isAtOnce ? "spoke" : watching.ended;
  }

  #read(chunk: Uint8Array, watching: Watching): void {
    let changes: PackedChange[] = [];
    let listed = false;
    const wasMute = this.#mute.isMute;
    for (const line of watching.lines.of(chunk)) {
      const event = watchEvent(line, this.#kind.kind);
      watching.ended = "spoke";
      this.#mute.spoke();
      if (event.type === "error") {
        // What came before it in the same chunk counts.
        if (changes.length > 0) this.#changed(changes);
        throw new Refused({ status: event.code, retryAfterMs: null }, `the server ends the watch: ${event.message}`);
      }
      if (watching.listing) {
        const whole = this.#listedBy(event);
        if (whole === undefined) continue;
        changes = [...whole];
        watching.listing = false;
        listed = true;
      } else this.#follow(event, changes);
      this.#version = versionOf(event);
    }
    if (listed || changes.length > 0) this.#changed(changes);
    // The server works, also if the next watch fails.
    if (!watching.listing) this.#failures = 0;
    if (listed) this.#absent.isKnown();
    if (listed || wasMute !== this.#mute.isMute) this.#ports.noted({ state: "watching", why: "" });
  }

  /** The changes of a streaming list, when this event is its end. */
  #listedBy(event: Exclude<WatchEvent, { readonly type: "error" }>): readonly PackedChange[] | undefined {
    if (event.type === "present") this.mirror.listed(event.served);
    if (event.type === "deleted") throw new StrangeAnswer("an object goes before the list of all objects has ended");
    return event.type === "bookmark" && event.endsList ? this.mirror.endList() : undefined;
  }

  #follow(event: Exclude<WatchEvent, { readonly type: "error" }>, changes: PackedChange[]): void {
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
    this.#mute.listed();
    this.#absent.isKnown();
    this.#changed(this.mirror.endList());
    this.#version = version;
    return true;
  }

  /** One question in place of all that shows the absence. */
  async #isStillAbsent(signal: AbortSignal): Promise<boolean> {
    if (this.#ports.nowMs() - this.#absentMs >= ABSENT_MS) return false;
    const answer = await this.#ask("limit=1", signal, ANSWER_IDLE_MS);
    await textOf(answer);
    return answer.status === 404;
  }

  /** False: it is empty, since the cluster has no such kind. @throws Refused when it must not be taken for empty */
  async #isAbsent(notFound: ApiAnswer, signal: AbortSignal): Promise<boolean> {
    const absence = await this.#absent.ask(notFound, this.mirror.hadObjects, signal);
    if (absence.is === "served") {
      this.#path = absence.path;
      throw new Refused(notFound, `${this.#kind.kind} is served at ${absence.path}, which is read next`);
    }
    this.#failures = 0;
    this.mirror.beginList();
    this.#changed(this.mirror.endList());
    this.mirror.forget();
    this.#absentMs = this.#ports.nowMs();
    this.#ports.noted({ state: "watching", why: "" });
    return false;
  }

  #ask(query: string, signal: AbortSignal, idleMs: number): Promise<ApiAnswer> {
    const { selector } = this.#kind;
    return this.#ports.ask(`${this.#path}?${[selector, query].filter((part) => part !== "").join("&")}`, {
      signal,
      idleMs,
    });
  }

  #expectJson(answer: ApiAnswer, what: string): Promise<void> {
    return expectJson(answer, `${what} of ${this.#kind.kind}`);
  }
}

function versionOf(event: Exclude<WatchEvent, { readonly type: "error" }>): string {
  return event.type === "bookmark" ? event.resourceVersion : event.served.version.resourceVersion;
}
