// keeper · composition root of the privileged program: load, pin, serve agents on keeper.sock, watch pods and heartbeat. One
// thread. It reads no byte from a network and talks to nobody but agents on that socket.

import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { cgroupReader, cgroupTexts } from "../process/cgroup-files.ts";
import { foundPodsCgroup, podsCgroup } from "../process/cgroup-tree.ts";
import { parseMountinfo } from "../process/mounts.ts";
import { FdSocket, PodThread, Programs, pinnedMap, type FdSocket as Socket } from "./addon.ts";
import { PodEnrollments } from "./enrollment.ts";
import type { EnrollmentRefusal, OpenEnrollment } from "./enrollment-states.ts";
import { Holders } from "./holders.ts";
import { lastIndexFile } from "./last-index.ts";
import { type Asker, type KeeperLog, Lender, type ReplyWithFds, serveOn } from "./lend.ts";
import { inTurns, OwedSweeps } from "./looks.ts";
import { NodeAccess, type NodeAccessSettings } from "./node-access.ts";
import { NodeTree } from "./node-tree.ts";
import { PodNamespaces } from "./pod-sockets.ts";
import { answerStarts, listenForStarts, PodStarts } from "./pod-starts.ts";
import { PodWatch } from "./pod-watch.ts";
import { findPod, type PodTree } from "./pods.ts";
import { LoadedPrograms, SURVEY_MAPS } from "./programs.ts";
import { ProtectedPods, protectedPodsFile } from "./protected-pods.ts";
import { type PodNotice, PROTOCOL_VERSION, type Request } from "./protocol.ts";
import { UnbornPods } from "./unborn-pods.ts";
import { Watchdog } from "./watchdog.ts";

export type KeeperSettings = {
  readonly node: string;
  /** Nobody but the keeper's user may write there. */
  readonly directory: string;
  /** The unix socket it serves, in that directory. */
  readonly socket: string;
  /** The keeper's own, and outlives a reboot. */
  readonly stateDirectory: string;
  readonly bpffs: string;
  /** The directory above all pods, or "auto": the kubelet's is looked for at the start. */
  readonly podsCgroup: string;
  readonly heartbeatLimitMs: number;
  readonly nodeAccess: NodeAccessSettings;
  readonly agentUid: number;
  readonly log: { readonly level: string };
};
export type KeeperOptions = {
  readonly log: KeeperLog;
  /** Aborted: stop serving and return. */
  readonly signal: AbortSignal;
  /** Leave nothing behind: release every pod, detach, unpin, unmount what was mounted here. Read when the signal has come. */
  readonly removeOnExit: boolean;
  /** Map sizes other than the defaults, for tests of full maps. */
  readonly maxEntries?: Readonly<Record<string, number>>;
};

/** How soon a pod that ended, or an agent that fell silent, is noticed. */
const SWEEP_EVERY_MS = 250;
/** Sweeps after a change in the pods' cgroups: a process may enter its network namespace a moment after its cgroup. */
const AFTER_EVENT_MS = [0, 10, 50];
const LOOK_EVERY_MS = 250;
/** How soon it is noticed that the kubelet has ended, or another began. */
const NODE_LOOK_EVERY_MS = 500;
/** The mount source by which a later keeper recognises a mount that a keeper made. */
const MOUNT_SOURCE = "orlop";
/** `orlop run` says that it stops before it sends SIGTERM; the signal may be seen first. */
const STOP_WORD_MS = 500;
const CGROUP_NOTE = "made-pods-cgroup";
/** Of the pod that was given an index last. */
const LAST_INDEX = "last-index";
/** Where the CNI plug-in asks, in the keeper's directory. */
const CNI_SOCKET = "cni.sock";
/** In the keeper's directory while it serves: what it knows from before is guarded then. The socket is there earlier. */
const SERVING = "serving";

/** Runs until the signal; resolves when all is closed. Rejects when it cannot load, attach or listen. */
export async function runKeeper(settings: KeeperSettings, options: KeeperOptions): Promise<void> {
  const { log, signal } = options;
  const config = { ...settings, podsCgroup: directoryOf(settings.podsCgroup, log) };
  const undo: Undo[] = [];
  try {
    const { open, kernel, thread, namespaces, access } = await start(config, options, undo);
    log.info("the keeper serves", { socket: config.socket });
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    for (const step of undo.splice(0).reverse()) step();
    const { removeOnExit } = options;
    if (removeOnExit) {
      await (await open()).releaseAll();
      rmSync(join(config.directory, LAST_INDEX), { force: true });
      await namespaces.close({ restore: true });
      access.remove();
      kernel.remove();
      unmountBpffs(config.bpffs);
      removeCgroup(config, log);
      if (readdirSync(config.directory).length === 0) rmdirSync(config.directory);
    } else {
      await open.opened?.close();
      await namespaces.close({ restore: false });
    }
    kernel.close();
    thread.close();
    log.info("the keeper has ended", { removed: removeOnExit });
  } finally {
    for (const step of undo.reverse()) step();
  }
}

/** @throws when it is "auto" and no cgroup of pods is found, or several */
function directoryOf(configured: string, log: KeeperLog): string {
  if (configured !== "auto") return configured;
  const path = foundPodsCgroup(podsCgroup(cgroupTexts(), cgroupReader));
  log.info("found the pods' cgroup", { path });
  return path;
}

type Undo = () => void;

/** The enrolled pods, from the first call on; the same for every call. */
type OpenPods = { (): Promise<PodEnrollments>; opened: PodEnrollments | undefined };

/**
 * Programs of another layout version stay in force until an agent is here that can work with ours: an older agent serves
 * on with what it has. Only then, or at once when there are none, ours take over and are attached.
 */
function opener(config: KeeperSettings, kernel: LoadedPrograms, namespaces: PodNamespaces, log: KeeperLog): OpenPods {
  const tree = { podsCgroup: config.podsCgroup, proc: "/proc", unborn: new UnbornPods() };
  let opening: Promise<PodEnrollments> | undefined;
  const begin = async (): Promise<PodEnrollments> => {
    if (kernel.otherLayouts().length > 0) {
      await kernel.takeOver((uid, sockMapFd) => endMarked(tree, namespaces, uid, sockMapFd), log);
    }
    kernel.attach(log);
    const { open: openNamespace, cookieOf } = namespaces;
    const lastIndex = lastIndexFile(join(config.directory, LAST_INDEX));
    const protectedPods = openProtectedPods(config, log);
    const enrollments = new PodEnrollments({
      tree,
      openNamespace,
      cookieOf,
      rows: kernel.rows,
      protectedPods,
      lastIndex,
    });
    log.info("attached", { adopted: enrollments.all().length });
    // Before any agent is here.
    await sweep(enrollments, () => {}, log);
    open.opened = enrollments;
    return enrollments;
  };
  const open: OpenPods = Object.assign(
    () => {
      opening ??= begin().catch((error: unknown) => {
        opening = undefined; // The next agent's hello tries again.
        throw error;
      });
      return opening;
    },
    { opened: undefined },
  );
  return open;
}

/** Without a place for the list the keeper protects what it learns of, until it ends. */
function openProtectedPods({ stateDirectory }: KeeperSettings, log: KeeperLog): ProtectedPods {
  const failed = (error: unknown): void =>
    log.error("the list of protected pods could not be kept or read: a later keeper may begin without it", {
      directory: stateDirectory,
      error: String(error),
    });
  try {
    ownDirectory(stateDirectory);
  } catch (error) {
    failed(error);
    return new ProtectedPods({ read: () => undefined, write: async () => {} }, failed);
  }
  return new ProtectedPods(protectedPodsFile(join(stateDirectory, "protected-pods.json")), failed);
}

/** A pod without a process has nobody left who could speak. */
async function endMarked(tree: PodTree, namespaces: PodNamespaces, uid: string, sockMapFd: number): Promise<number> {
  const pod = findPod(tree, uid);
  if ("refused" in pod) return 0;
  try {
    return await namespaces.endMarked(pod.netnsFd, sockMapFd);
  } finally {
    closeSync(pod.netnsFd);
  }
}

/** Everything up and serving, or an exception; `undo` ends what serves, in reverse. */
async function start(config: KeeperSettings, { log, maxEntries }: KeeperOptions, undo: Undo[]) {
  // Bound before anything is touched: of two keepers with one run directory the second ends here.
  const server = listen(config);
  const serving = join(config.directory, SERVING);
  const cniSocket = join(config.directory, CNI_SOCKET);
  for (const path of [serving, cniSocket]) rmSync(path, { force: true });
  undo.push(() => {
    server.close();
    for (const path of [config.socket, cniSocket, serving]) rmSync(path, { force: true });
  });
  makeCgroup(config, log);
  mountBpffs(config.bpffs, log);
  const sizes = maxEntries ? { maxEntries } : {};
  const kernel = new LoadedPrograms({ ...config, openMap: pinnedMap, ...sizes }, Programs);
  const thread = new PodThread(kernel.sockMapFd);
  const surveys = opensSurvey(thread, kernel, log);
  const namespaces = new PodNamespaces({ thread, severFds: kernel.severFds, surveys, log, proc: "/proc" });
  const open = opener(config, kernel, namespaces, log);
  const others = kernel.otherLayouts().map(({ version }) => version);
  if (others.length === 0) await open();
  else log.info("another layout version is in force until an agent of ours is here", { versions: others });
  const access = nodeAccess(config, kernel, namespaces, log);
  const after = (ms: number, call: () => void): (() => void) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  };
  const holders = new Holders({ notify: (agent, notice) => lender.notify(notice, agent), after, log });
  const starts = new PodStarts({ opened: () => open.opened, notify: (notice) => lender.notify(notice), after, log });
  const handle = answerer({ kernel, open, holders, access, starts, log });
  const lender = new Lender({ agentUid: config.agentUid, handle, gone: (agent) => holders.gone(agent), log });
  undo.push(() => {
    lender.close();
    holders.close();
  });
  serveOn(server, lender);
  // The runtime's plug-ins run as root.
  const cni = listenForStarts(cniSocket);
  undo.push(() => {
    starts.close();
    cni.close();
  });
  answerStarts(cni, starts);
  writeFileSync(serving, `${process.pid}\n`);
  const watchdog = new Watchdog({ readGate: () => kernel.readGate(), log });
  const lookAtNode = nodeLooker(open, access, log);
  const sweepNow = sweeper(open, lender, () => watch, log);
  lookAtNode();
  const timers = [
    setInterval(() => watchdog.look(), LOOK_EVERY_MS),
    setInterval(lookAtNode, NODE_LOOK_EVERY_MS),
    setInterval(sweepNow, SWEEP_EVERY_MS),
  ];
  const soon = new Set<NodeJS.Timeout>();
  const watch = new PodWatch({
    tree: { podsCgroup: config.podsCgroup, proc: "/proc" },
    changed: () => {
      if (soon.size > 0) return;
      for (const ms of AFTER_EVENT_MS) {
        const timer = setTimeout(() => {
          soon.delete(timer);
          sweepNow();
        }, ms);
        soon.add(timer);
      }
    },
    log,
  });
  undo.push(() => {
    watch.close();
    for (const timer of [...timers, ...soon]) clearInterval(timer);
  });
  return { kernel, thread, namespaces, open, access };
}

/** False: a sweep looks at each pod by itself, which ends the same and costs more. */
function opensSurvey(thread: PodThread, kernel: LoadedPrograms, log: KeeperLog): boolean {
  try {
    thread.openSurvey(SURVEY_MAPS, kernel.surveyFds);
    return true;
  } catch (error) {
    log.info("this kernel has no survey of all pods: each is swept by itself", { error: String(error) });
    return false;
  }
}

function nodeAccess(
  config: KeeperSettings,
  kernel: LoadedPrograms,
  namespaces: PodNamespaces,
  log: KeeperLog,
): NodeAccess {
  const cookieOf = async (path: string): Promise<bigint> => {
    const fd = openSync(path, "r");
    try {
      return await namespaces.cookieOf(fd);
    } finally {
      closeSync(fd);
    }
  };
  const tree = new NodeTree({ proc: "/proc", podsCgroup: config.podsCgroup });
  return new NodeAccess({ settings: config.nodeAccess, tree, rows: kernel.nodeRows, cookieOf, log });
}

/** What a program of the node has open is judged again once the program is let in no more. */
function nodeLooker(open: OpenPods, access: NodeAccess, log: KeeperLog): () => void {
  const owed = new OwedSweeps();
  const look = async (): Promise<void> => {
    const { opened } = open;
    if (opened === undefined) return;
    if (await access.look())
      owed.owe(opened.all().flatMap(({ row, state }) => (state === "captured" ? row.podIdx : [])));
    await owed.pay(async (podIdx) => {
      const row = opened.get(podIdx)?.row;
      if (row !== undefined) await opened.sever(row);
    });
  };
  return inTurns(look, (error) => log.error("looking after programs of the node failed", { error: String(error) }));
}

type KeeperProgramOptions = {
  readonly removeOnExit: boolean;
  /** Calls once when `orlop run` has ended, and whether it stops; null: this keeper was not started by it. */
  readonly handover: { onAlone(call: (stops: boolean) => void): void } | null;
};

/**
 * Calls once when the keeper is to end. Under `orlop run` only its word is an operator's stop: a signal to this process alone
 * ends the keeper and leaves everything to the next, and SIGINT means nothing, since a terminal sends it to `orlop run`, too.
 */
function onEnd(handover: KeeperProgramOptions["handover"], call: (isStop: boolean) => void): void {
  if (handover === null) {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => call(true));
    return;
  }
  handover.onAlone((stops) => stops && call(true));
  process.on("SIGINT", () => {});
  process.once("SIGTERM", () => setTimeout(() => call(false), STOP_WORD_MS));
}

/** `orlop keeper`: the same with the process's signals and a JSON log on stderr. Resolves to the exit status. */
export async function runKeeperProgram(
  config: KeeperSettings,
  { removeOnExit, handover }: KeeperProgramOptions,
): Promise<number> {
  const stop = new AbortController();
  let removes = false;
  onEnd(handover, (isStop) => {
    if (stop.signal.aborted) return;
    removes = removeOnExit && isStop;
    stop.abort();
  });
  const log = jsonLog(config.log.level);
  const options = {
    log,
    signal: stop.signal,
    get removeOnExit() {
      return removes;
    },
  };
  try {
    await runKeeper(config, options);
    return 0;
  } catch (error) {
    const { message, ...fields } = error instanceof Error ? error : new Error(String(error));
    log.error(message, fields);
    return 1;
  }
}

const isRefusal = (value: object): value is EnrollmentRefusal => "refused" in value;

type AnswererParts = {
  readonly kernel: LoadedPrograms;
  readonly open: OpenPods;
  readonly holders: Holders;
  readonly access: NodeAccess;
  readonly starts: PodStarts;
  readonly log: KeeperLog;
};

/** Only the agent that holds the node may ask for these. Any agent gets sockets, for the connections that it has. */
const changes: ReadonlySet<Request["op"]> = new Set([
  "guard",
  "prepare",
  "set-addresses",
  "capture",
  "release",
  "release-to-guard",
  "sever",
]);

function answerer(parts: AnswererParts): (request: Request, asker: Asker) => Promise<ReplyWithFds> {
  const { kernel, open, holders, access, starts, log } = parts;
  const refuse = (id: number, { refused, message }: EnrollmentRefusal): ReplyWithFds => {
    log.warn("refused", { reason: refused, message });
    return { reply: { id, op: "refused", reason: refused, message } };
  };
  return async (request, { agent, pid, connected }) => {
    const { id } = request;
    const enrollments = await open();
    if (changes.has(request.op) && !holders.mayChange(agent)) {
      return refuse(id, { refused: "not-holding", message: "another agent holds the node" });
    }
    switch (request.op) {
      case "hello": {
        const pods = enrollments.present();
        // An agent that went while the keeper opened its tables never came.
        const role = connected() ? holders.came(agent, request.role) : "leaving";
        log.info("an agent is here", { node: request.node, pods: pods.length, pid, role });
        return { reply: { id, op: "welcome", version: PROTOCOL_VERSION, role, pods }, fds: kernel.lentFds() };
      }
      case "take": {
        const isTaken = await holders.take(agent);
        if (!isTaken) return refuse(id, { refused: "busy", message: "the node is held, or is being handed over" });
        log.info("an agent has taken the node", { pid });
        return { reply: { id, op: "taken", pods: enrollments.present() }, fds: kernel.lentFds() };
      }
      case "yielded":
        holders.yielded(agent);
        return { reply: { id, op: "done" } };
      case "serving":
        holders.serves(agent);
        return { reply: { id, op: "done" } };
      case "leave":
        holders.gone(agent);
        return { reply: { id, op: "done" } };
      case "guard": {
        const row = await enrollments.guard(request.uid, request.workload);
        return isRefusal(row) ? refuse(id, row) : { reply: { id, op: "guarded", podIdx: row.podIdx } };
      }
      case "set-addresses": {
        const { podIdx, uid, addresses } = request;
        const result = await enrollments.setAddresses(request, addresses);
        if (isRefusal(result)) return refuse(id, result);
        log.info("has other addresses", { pod: uid, podIdx, addresses });
        return { reply: { id, op: "done" } };
      }
      case "known-of":
        return { reply: { id, op: "known", ...enrollments.knownOf(request) } };
      case "prepare": {
        const result = await enrollments.prepare(request.uid, request.addresses);
        return isRefusal(result) ? refuse(id, result) : prepared(id, result);
      }
      case "capture": {
        const { podIdx, failDirect } = request;
        const result = await enrollments.capture(request, failDirect, ({ row }) => {
          log.info("captured", { pod: row.uid, podIdx, failDirect });
          // The runtime calls the plug-in again after a reboot: what it waits for is only the kernel's.
          starts.captured(podIdx);
        });
        if (isRefusal(result)) return refuse(id, result);
        return { reply: { id, op: "done" } };
      }
      case "release": {
        const { podIdx, uid } = request;
        if (await enrollments.release(request)) {
          log.info("released", { pod: uid, podIdx });
          starts.released(podIdx);
        }
        return { reply: { id, op: "done" } };
      }
      case "release-to-guard": {
        const row = await enrollments.releaseToGuard(request, request.workload);
        if (isRefusal(row)) return refuse(id, row);
        log.info("released, and guarded", { pod: row.uid, podIdx: row.podIdx });
        return { reply: { id, op: "guarded", podIdx: row.podIdx } };
      }
      case "sockets": {
        const { podIdx, kind, count } = request;
        const fds = await enrollments.makeSockets(request, kind, count);
        if (!Array.isArray(fds)) return refuse(id, fds);
        return { reply: { id, op: "sockets", podIdx, kind }, fds, handedOver: true };
      }
      case "sever": {
        const ended = await enrollments.sever(request);
        if (typeof ended !== "number") return refuse(id, ended);
        const say = ended > 0 ? log.info : log.debug;
        say("connections that are no longer allowed were ended", { podIdx: request.podIdx, ended });
        return { reply: { id, op: "done" } };
      }
      case "node-access":
        return { reply: { id, op: "node-access", ...access.view() } };
      case "programs":
        return { reply: { id, op: "programs", ...kernel.view() } };
    }
  };
}

function prepared(id: number, enrolled: OpenEnrollment): ReplyWithFds {
  const { row, namespace, state } = enrolled;
  return {
    reply: {
      id,
      op: "prepared",
      podIdx: row.podIdx,
      addresses: row.addresses,
      netnsCookie: String(row.netnsCookie),
      listeners: namespace.listeners.map(({ kind, family, address, port }) => ({ kind, family, address, port })),
      captured: state === "captured",
      preservesSource: namespace.preservesSource,
    },
    fds: namespace.listeners.map(({ fd }) => fd),
  };
}

/** A sweep that takes longer than the time between two is waited for. */
function sweeper(open: OpenPods, lender: Lender, watch: () => PodWatch, log: KeeperLog): () => void {
  const look = async (): Promise<void> => {
    watch().look();
    if (open.opened !== undefined) await sweep(open.opened, (notice) => lender.notify(notice), log);
  };
  return inTurns(look, (error) => log.error("looking after pods failed", { error: String(error) }));
}

async function sweep(enrollments: PodEnrollments, notify: (notice: PodNotice) => void, log: KeeperLog): Promise<void> {
  const { gone, guarded, failed } = await enrollments.sweep();
  for (const { podIdx, uid } of gone) {
    log.info("a pod has gone", { pod: uid, podIdx });
    notify({ id: 0, op: "pod-gone", podIdx, uid });
  }
  for (const { podIdx, uid } of guarded) {
    log.info("a pod is guarded", { pod: uid, podIdx });
    notify({ id: 0, op: "pod-guarded", podIdx, uid });
  }
  for (const { uid, error } of failed) {
    log.error("looking after a pod failed; tried again with the next turn", { pod: uid, error: String(error) });
  }
}

/** Only root and the agent's user may connect; who did is asked of the kernel once more, by the Lender. */
function listen(config: KeeperSettings): Socket {
  ownDirectory(config.directory);
  // Of our own group, which the program made the agent's.
  return FdSocket.listen(config.socket, 0o660);
}

/** The agent parses hostile bytes: where it could write, it could put a socket of its own in our socket's place. */
function ownDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o755 });
  const { uid, mode } = lstatSync(path);
  const foreign =
    uid !== process.geteuid?.() || (mode & 0o022) !== 0 || (mode & constants.S_IFMT) !== constants.S_IFDIR;
  if (foreign) throw new Error(`${path} must be a directory of the keeper's user in which nobody else may write`);
}

/** On a plain machine the pods' ancestor cgroup may be missing; Kubernetes always has it. A file in the run directory records that a keeper made it. */
function makeCgroup({ podsCgroup, directory }: KeeperSettings, log: KeeperLog): void {
  if (existsSync(podsCgroup)) return;
  mkdirSync(podsCgroup, { recursive: true });
  writeFileSync(join(directory, CGROUP_NOTE), podsCgroup);
  log.info("made the pods' cgroup", { path: podsCgroup });
}

function removeCgroup({ podsCgroup, directory }: KeeperSettings, log: KeeperLog): void {
  const note = join(directory, CGROUP_NOTE);
  if (!existsSync(note) || readFileSync(note, "utf8") !== podsCgroup) return;
  try {
    rmdirSync(podsCgroup);
    rmSync(note);
  } catch (error) {
    log.warn("the pods' cgroup stays: something lives in it", { path: podsCgroup, error: String(error) });
  }
}

/** Is a bpf file system mounted on exactly this directory, and did a keeper mount it? */
function bpffsAt(path: string): "ours" | "another's" | "none" {
  const mount = parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8")).findLast(({ point }) => point === path);
  if (mount?.type !== "bpf") return "none";
  return mount.source === MOUNT_SOURCE ? "ours" : "another's";
}

/** The directory of pins in it is 0700, and no pod is given this mount. */
function mountBpffs(path: string, log: KeeperLog): void {
  if (bpffsAt(path) !== "none") return;
  mkdirSync(path, { recursive: true, mode: 0o700 });
  execFileSync("mount", ["-t", "bpf", "-o", "mode=0700", MOUNT_SOURCE, path]);
  log.info("mounted a bpf file system", { path });
}

function unmountBpffs(path: string): void {
  if (bpffsAt(path) === "ours") execFileSync("umount", [path]);
}

const levels = ["debug", "info", "warn", "error", "off"];

/** The keeper's own log: it may import no namespace's, and says little. */
function jsonLog(level: string): KeeperLog {
  const from = Math.max(0, levels.indexOf(level));
  const write =
    (name: string) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      if (levels.indexOf(name) < from) return;
      const line = { level: name, time: new Date().toISOString(), scope: "keeper", ...fields, message };
      process.stderr.write(`${JSON.stringify(line)}\n`);
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
