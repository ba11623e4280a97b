// main thread · a kind whose path the server does not know (404). The server says so of a kind that the cluster lacks, and just as well
// of a kind whose definition it is setting up, or serves in another version only. Policies must not be taken for absent then.
import type { ApiAnswer, Ask } from "./api-answer.ts";
import { expectJson, objectOf, Refused, textOf } from "./api-refusal.ts";
import { StrangeAnswer } from "./watch-event.ts";
import type { WatchedKind } from "./watched-kinds.ts";

export type AbsentKindPorts = {
  readonly ask: Ask;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
};

export type Absence =
  | { readonly is: "empty" }
  /** The kind is at another path: the server has it in another version that is read here. */
  | { readonly is: "served"; readonly path: string };

const IDLE_MS = 30_000;
/** A definition that is gone, and still is after so long, has been deleted, ms. */
const GONE_MS = 60_000;
const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

export class AbsentKind {
  readonly #kind: WatchedKind;
  readonly #ports: AbsentKindPorts;
  readonly #group: string;
  readonly #plural: string;
  /** When its definition was first found to be gone; undefined: it was there the last time, or nobody has asked. */
  #goneSinceMs: number | undefined;

  constructor(kind: WatchedKind, ports: AbsentKindPorts) {
    this.#kind = kind;
    this.#ports = ports;
    const [, , group = "", , plural = ""] = kind.path.split("/");
    this.#group = group;
    this.#plural = plural;
  }

  /** The server knows the kind: what was found before is void. */
  isKnown(): void {
    this.#goneSinceMs = undefined;
  }

  /**
   * Asks what else the server says of the kind.
   * @param hadObjects objects of it were read, by this process or by the process before it
   * @throws Refused or StrangeAnswer when the kind must not be taken for empty
   */
  async ask(notFound: ApiAnswer, hadObjects: boolean, signal: AbortSignal): Promise<Absence> {
    await textOf(notFound).catch(() => "");
    const { kind, apiVersion } = this.#kind;
    const versions = await this.#servedVersions(signal);
    const readable = [apiVersion, ...this.#kind.otherVersions].find((version) => versions.includes(version));
    if (readable === apiVersion) throw new Refused(notFound, `${kind} is named by the server and not served`);
    if (readable !== undefined) return { is: "served", path: `/apis/${readable}/${this.#plural}` };
    if (versions.length > 0) throw new Refused(notFound, `${kind} is served as ${versions.join(", ")} alone`);
    if (hadObjects) await this.#expectGone(notFound, signal);
    return { is: "empty" };
  }

  /** In which versions the server's discovery has the kind, as `<group>/<version>`. Believed only of a server that is ready. */
  async #servedVersions(signal: AbortSignal): Promise<readonly string[]> {
    const ready = await this.#get("/readyz", signal);
    const said = await textOf(ready);
    // A page of a proxy has the status 200 as well.
    if (ready.status !== 200 || said.trim() !== "ok") throw new Refused(ready, "the API server is not ready");
    const groups = await this.#list("/apis", "APIGroupList", "groups", signal);
    const group = groups.find((entry) => entry.name === this.#group);
    if (group === undefined) return [];
    if (!Array.isArray(group.versions)) throw new StrangeAnswer(`group ${this.#group} has no versions`);
    const served: string[] = [];
    for (const { groupVersion } of group.versions) {
      const resources = await this.#list(`/apis/${groupVersion}`, "APIResourceList", "resources", signal);
      if (resources.some(({ name }) => name === this.#plural)) served.push(String(groupVersion));
    }
    return served;
  }

  /** @throws Refused until the definition was found to be gone twice, a minute apart */
  async #expectGone(notFound: ApiAnswer, signal: AbortSignal): Promise<void> {
    const { kind, apiVersion } = this.#kind;
    const name = `${this.#plural}.${this.#group}`;
    const answer = await this.#get(`${DEFINITIONS}/${name}`, signal);
    if (answer.status !== 404) {
      // Only a success says that it is there. Who may not read it knows nothing.
      if (answer.status === 200) this.isKnown();
      await textOf(answer);
      throw new Refused(notFound, `${kind} is no longer served as ${apiVersion}, and its definition is not gone`);
    }
    const status = await objectOf(answer, "Status");
    const { details } = status;
    const named = typeof details === "object" && details !== null && "name" in details ? details.name : undefined;
    if (status.reason !== "NotFound" || named !== name) throw new Refused(notFound, `nobody says that ${name} is gone`);
    const nowMs = this.#ports.nowMs();
    this.#goneSinceMs ??= nowMs;
    if (nowMs - this.#goneSinceMs >= GONE_MS) return;
    const what = `the definition of ${kind} is gone, which is believed when it still is after ${GONE_MS / 1_000} s`;
    throw new Refused(notFound, what);
  }

  async #list(
    path: string,
    kind: string,
    field: string,
    signal: AbortSignal,
  ): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const answer = await this.#get(path, signal);
    await expectJson(answer, `discovery at ${path}`);
    const { [field]: items } = await objectOf(answer, kind);
    if (!Array.isArray(items)) throw new StrangeAnswer(`discovery at ${path} has no ${field}`);
    if (items.every((item) => typeof item === "object" && item !== null)) return items;
    throw new StrangeAnswer(`discovery at ${path} has strange ${field}`);
  }

  #get(path: string, signal: AbortSignal): Promise<ApiAnswer> {
    return this.#ports.ask(path, { signal, idleMs: IDLE_MS });
  }
}
