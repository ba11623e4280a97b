// keeper · keeps the kernel's word on programs of the node equal to what the node's configuration allows and to what runs now: the
// kubelet, cgroups that an operator named, or the whole node. What is not certain lets nobody in.
import type { KeeperLog } from "./lend.ts";
import { isInPods, kubeletAmong, type NodeProcess, processText, sharesApiServer } from "./node-programs.ts";
import type { Access, NodeRows } from "./node-rows.ts";
import type { NodeTree } from "./node-tree.ts";
import type { NodeAccessView } from "./protocol.ts";

export type NodeAccessSettings = {
  readonly mode: "none" | "kubelet" | "node";
  /** In place of looking for the kubelet: a unit or the path of its cgroup. Empty: look. */
  readonly kubeletCgroup: string;
  /** Units or paths of cgroups that are let in besides, in each mode. */
  readonly from: readonly string[];
};

export type NodeAccessParts = {
  readonly settings: NodeAccessSettings;
  readonly tree: Pick<NodeTree, "tree" | "nodeNetns" | "kubelets" | "isStill" | "cgroupId" | "named">;
  readonly rows: NodeRows;
  /** The cookie of the namespace behind `/proc/<pid>/ns/net`. */
  readonly cookieOf: (path: string) => Promise<bigint>;
  readonly log: KeeperLog;
  /** Milliseconds, of any clock that does not go back. */
  readonly now?: () => number;
};

type LetInView = NodeAccessView["programs"][number];
type LetIn = LetInView & { readonly id: bigint };
type Wanted = { readonly programs: readonly LetIn[]; readonly problems: readonly string[] };

/** Between two searches through all processes, while there is no kubelet, and while there is. */
const SEARCH_EVERY_MS = 1_000;
const SEARCH_AGAIN_MS = 10_000;
/** A search takes this part of the keeper's time at most: a node may have many processes. */
const SEARCH_SHARE = 1 / 20;
/** Processes that are named when several qualify, and characters of a name or a path: the answer must fit into a packet. */
const SHOWN_PROCESSES = 5;
const SHOWN_CHARACTERS = 400;
const shown = (text: string): string => (text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text);

export class NodeAccess {
  readonly #parts: NodeAccessParts;
  readonly #now: () => number;
  #cookie: bigint | undefined;
  #kubelet: ReturnType<typeof kubeletAmong> = { state: "absent" };
  #searchAt = Number.NEGATIVE_INFINITY;
  #searchTookMs = 0;
  #view: NodeAccessView;
  /** What the kernel's tables and links say, as text; null: not all of what is wanted. */
  #written: string | null = null;
  #accessWritten: Access | null | undefined;
  /** Something was let in that is not let in any more, and `look` has not said so yet. */
  #isNarrowed = false;

  constructor(parts: NodeAccessParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
    this.#view = { mode: parts.settings.mode, programs: [], problem: "not looked for yet" };
  }

  /** What is let in now, for operators. */
  view(): NodeAccessView {
    return this.#view;
  }

  /** One look; called by a timer. True: something is let in no more, so that what it has open must be judged again. */
  async look(): Promise<boolean> {
    const { settings } = this.#parts;
    let wanted: Wanted;
    let access: Access | null = null;
    try {
      wanted = this.#wanted();
      if (wanted.programs.length > 0) access = await this.#access();
    } catch (error) {
      access = null;
      wanted = { programs: [], problems: [shown(`programs of the node cannot be looked for: ${String(error)}`)] };
    }
    const { programs, problems } = wanted;
    const failed = this.#write(programs, access);
    const letIn = programs.filter(({ id }) => !failed.has(id));
    const failures = programs.flatMap(({ id, name }) => {
      const error = failed.get(id);
      return error === undefined ? [] : [shown(`${name} cannot be let in: ${error}`)];
    });
    const view = {
      mode: settings.mode,
      programs: letIn.map(({ role, name, pid, cgroup }) => ({ role, name: shown(name), pid, cgroup: shown(cgroup) })),
      problem: [...problems, ...failures].join("; "),
    };
    this.#tell(view);
    const narrowed = this.#isNarrowed;
    this.#isNarrowed = false;
    return narrowed;
  }

  /** Lets nobody in, and leaves nothing behind. */
  remove(): void {
    this.#write([], null);
  }

  #wanted(): Wanted {
    const { settings } = this.#parts;
    const problems: string[] = [];
    const programs: LetIn[] = [];
    const add = (program: LetIn | string): void => {
      if (typeof program === "string") problems.push(program);
      else if (!programs.some(({ id }) => id === program.id)) programs.push(program);
    };
    if (settings.mode === "node") add(this.#wholeNode());
    if (settings.mode === "kubelet") {
      add(settings.kubeletCgroup === "" ? this.#foundKubelet() : this.#named(settings.kubeletCgroup, "kubelet"));
    }
    for (const text of settings.from) add(this.#named(text, "named"));
    return { programs, problems };
  }

  #wholeNode(): LetIn | string {
    const { mount } = this.#parts.tree.tree();
    const id = this.#parts.tree.cgroupId(mount);
    if (id === undefined) return `${mount} is not there`;
    return { role: "node", name: "every process of the node", pid: null, cgroup: mount, id };
  }

  #foundKubelet(): LetIn | string {
    const { tree } = this.#parts;
    const known = this.#kubelet;
    const ended = known.state === "found" && !tree.isStill(known.process);
    const waits = known.state === "found" && !ended ? SEARCH_AGAIN_MS : SEARCH_EVERY_MS;
    if (ended) this.#kubelet = { state: "absent" };
    if (this.#now() - this.#searchAt >= Math.max(waits, this.#searchTookMs / SEARCH_SHARE)) {
      this.#searchAt = this.#now();
      this.#kubelet = kubeletAmong(tree.kubelets(), tree.nodeNetns().id, tree.tree());
      this.#searchTookMs = this.#now() - this.#searchAt;
    }
    const found = this.#kubelet;
    if (found.state === "absent") return "no process of the node is the kubelet";
    if (found.state === "found") return this.#programOf(found.process);
    const named = found.processes.slice(0, SHOWN_PROCESSES).map((process) => shown(processText(process)));
    const more = found.processes.length - named.length;
    return `several may be the kubelet: ${named.join(", ")}${more === 0 ? "" : ` and ${more} more`}`;
  }

  #programOf({ name, process, cgroup }: NodeProcess): LetIn | string {
    const id = this.#parts.tree.cgroupId(cgroup);
    if (id === undefined) return `the cgroup of ${name} (pid ${process.pid}) has gone`;
    return { role: "kubelet", name, pid: process.pid, cgroup, id };
  }

  #named(text: string, role: LetInView["role"]): LetIn | string {
    const { tree } = this.#parts;
    const found = tree.named(text);
    if (found.state === "several") return `several cgroups are called ${shown(text)}`;
    if (found.state === "absent") return `there is no cgroup ${shown(text)}`;
    const { directory } = found;
    if (isInPods(directory, tree.tree())) return `${shown(text)} lies in the cgroup of pods`;
    const id = tree.cgroupId(directory);
    return id === undefined
      ? `there is no cgroup ${shown(text)}`
      : { role, name: text, pid: null, cgroup: directory, id };
  }

  async #access(): Promise<Access> {
    const { tree, settings, cookieOf } = this.#parts;
    this.#cookie ??= await cookieOf(tree.nodeNetns().path);
    const { mount, podsCgroup } = tree.tree();
    const podsId = tree.cgroupId(podsCgroup);
    // Without it a pod's process could not be distinguished from the node's.
    if (podsId === undefined) throw new Error(`there is no ${podsCgroup}`);
    return {
      netnsCookie: this.#cookie,
      podsCgroup: podsCgroup === mount ? 0n : podsId,
      everybody: settings.mode === "node",
    };
  }

  /**
   * What is let in no more goes first. Only differences are written; what failed is tried again with the next look.
   * @returns why a program could not be let in, by the id of its cgroup
   * @throws what the kernel says when somebody cannot be taken out
   */
  #write(programs: readonly LetIn[], access: Access | null): ReadonlyMap<bigint, string> {
    const { rows } = this.#parts;
    const failed = new Map<bigint, string>();
    const wanted = [access?.netnsCookie, access?.podsCgroup, access?.everybody, ...programs.map(({ id }) => id)].join();
    if (wanted === this.#written) return failed;
    const named = new Set(programs.filter(({ role }) => role !== "node").map(({ id }) => id));
    const gone = rows.cgroups().filter((id) => !named.has(id));
    const before = this.#accessWritten;
    // Who was let in before the first look is not known.
    if (before === undefined || gone.length > 0 || (before?.everybody === true && access?.everybody !== true))
      this.#isNarrowed = true;
    this.#written = null;
    for (const id of gone) rows.removeCgroup(id);
    rows.setAccess(access);
    this.#accessWritten = access;
    const attached = programs.map(({ id }) => id);
    for (const id of rows.attached()) if (!attached.includes(id)) rows.detach(id);
    for (const { id, cgroup } of programs) {
      try {
        rows.attach(id, cgroup);
        if (named.has(id)) rows.addCgroup(id);
      } catch (error) {
        failed.set(id, String(error));
      }
    }
    if (failed.size === 0) this.#written = wanted;
    return failed;
  }

  #tell(view: NodeAccessView): void {
    const changed = JSON.stringify(view) !== JSON.stringify(this.#view);
    this.#view = view;
    if (!changed) return;
    const { log } = this.#parts;
    for (const { role, name, pid, cgroup } of view.programs) {
      const fields = { role, program: name, ...(pid === null ? {} : { pid }), cgroup };
      log.info("a program of the node is let in to pods", fields);
      if (sharesApiServer(name)) log.warn("the API server is part of that program, and is let in with it", fields);
    }
    if (view.problem !== "") log.warn("nobody of the node is let in by that", { problem: view.problem });
    if (view.programs.length === 0 && view.problem === "") log.info("no program of the node is let in to pods");
  }
}
