// keeper · composition root of the privileged program: load, pin, serve agents on keeper.sock, watch pods and heartbeat. One
// thread. It reads no byte from a network and talks to nobody but agents on that socket.
import { closeSync, openSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cgroupReader, cgroupTexts } from "../process/cgroup-files.ts";
import { foundPodsCgroup, podsCgroup } from "../process/cgroup-tree.ts";
import { FdSocket, PodThread, Programs, pinnedMap, type FdSocket as Socket } from "./addon.ts";
import { answerer } from "./answers.ts";
import { PodEnrollments } from "./enrollment.ts";
import { Holders } from "./holders.ts";
import { lastIndexFile } from "./last-index.ts";
import { type KeeperLog, Lender, serveOn } from "./lend.ts";
import { inTurns, OwedSweeps, oncePerTurn } from "./looks.ts";
import { NodeAccess } from "./node-access.ts";
import { NodeTree } from "./node-tree.ts";
import { keeperPlace, peerPlace } from "./peer-place.ts";
import { PendingPods } from "./pending.ts";
import { makeCgroup, mountBpffs, namedCgroup, ownDirectory, removeCgroup, unmountBpffs } from "./places.ts";
import type { UnclearedIndices } from "./pod-rows.ts";
import { PodNamespaces } from "./pod-sockets.ts";
import { answerStarts, listenForStarts, PodStarts } from "./pod-starts.ts";
import { PodWatch } from "./pod-watch.ts";
import { findPod, type PodTree } from "./pods.ts";
import { LoadedPrograms, SURVEY_MAPS } from "./programs.ts";
import { ProtectedPods, protectedPodsFile } from "./protected-pods.ts";
import type { PodNotice } from "./protocol.ts";
import type { KeeperSettings } from "./settings.ts";
import { UnbornPods } from "./unborn-pods.ts";
import { Watchdog } from "./watchdog.ts";

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
/** As that user many programs run that need no user of their own. */
const NOBODY = 65_534;
/** In a line of the log. */
const SHOWN_INDICES = 20;
/** Of the pod that was given an index last. */
const LAST_INDEX = "last-index";
/** Where the CNI plug-in asks, in the keeper's directory. */
const CNI_SOCKET = "cni.sock";
/** In the keeper's directory while it serves: what it knows from before is guarded then. The socket is there earlier. */
const SERVING = "serving";

/** Runs until the signal; resolves when all is closed. Rejects when it cannot load, attach or listen. */
export async function runKeeper(settings: KeeperSettings, options: KeeperOptions): Promise<void> {
  const { log, signal } = options;
  if (settings.agentUid === NOBODY)
    log.warn("spec.agentUid is nobody's: other programs run as that user, and may read the agent's files", {
      uid: NOBODY,
    });
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

/** @throws when no cgroup of pods is found, or several, and when the directory is not of cgroup v2 */
function directoryOf(configured: string, log: KeeperLog): string {
  const texts = cgroupTexts();
  const path =
    configured === "auto" ? foundPodsCgroup(podsCgroup(texts, cgroupReader)) : namedCgroup(configured, texts);
  if (path !== configured) log.info("found the pods' cgroup", { path });
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
      pending: new PendingPods(kernel.pendingLinks, (pod, error) =>
        log.error("an expected pod is not refused before its namespace is there", { pod, error: String(error) }),
      ),
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
  const uncleared = ({ podIdxs, failures, error }: UnclearedIndices): void =>
    log.error("tables could not be cleared of pods that have gone: their indices are given to none until they are", {
      ...{ podIdxs: podIdxs.slice(0, SHOWN_INDICES), count: podIdxs.length, failures, error: String(error) },
    });
  const kernel = new LoadedPrograms({ ...config, openMap: pinnedMap, ...sizes, uncleared }, Programs);
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
  const starts = new PodStarts({
    ...{
      opened: () => open.opened,
      isHeld: () => holders.isHeld,
      notify: (notice) => lender.notify(notice),
      after,
      log,
    },
  });
  const handle = answerer({ kernel, open, holders, access, starts, log });
  const place = keeperPlace(config.directory);
  const lender = new Lender({
    ...{ agentUid: config.agentUid, handle, log },
    placeOf: (pid) => peerPlace(place, pid),
    gone: (agent) => holders.gone(agent),
  });
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
  const expectNow = oncePerTurn(
    () => open.opened?.expect(),
    (error) => log.error("expected pods could not be looked after at once", { error: String(error) }),
  );
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
      expectNow();
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
  for (const { podIdx, uid, found, asked } of guarded) {
    const how = found === undefined ? {} : { found };
    log.info("a pod is guarded", { pod: uid, podIdx, ...how });
    notify({ id: 0, op: asked ? "pod-found" : "pod-guarded", podIdx, uid, ...how });
  }
  for (const { uid, error } of failed) {
    log.error("looking after a pod failed; tried again with the next turn", { pod: uid, error: String(error) });
  }
}

/** Only root and the agent's group may connect; who did, and from where, is asked of the kernel once more, by the Lender. */
function listen(config: KeeperSettings): Socket {
  ownDirectory(config.directory);
  // Of our own group, which the program made the agent's.
  return FdSocket.listen(config.socket, 0o660);
}
