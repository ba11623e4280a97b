// main thread · `orlop cni`: keeps our plug-in in the node's CNI chain and the list of namespaces beside it, as long as its own DaemonSet is
// there. A restart takes nothing away; the DaemonSet's end takes all.
import { watch } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Readiness, startReadyServer } from "../admin/health.ts";
import type { CniConfig } from "../config/config.ts";
import { ApiClient } from "../control/kubernetes/api-client.ts";
import { textOf } from "../control/kubernetes/api-refusal.ts";
import { kubeconfig, serviceAccount } from "../control/kubernetes/credentials.ts";
import { KindWatch } from "../control/kubernetes/kind-watch.ts";
import type { WatchedKind } from "../control/kubernetes/watched-kinds.ts";
import { Log } from "../observe/log.ts";
import {
  daemonSetKind,
  daemonSetPath,
  isGoing,
  isThereAfter,
  MeshedNamespaces,
  namespaceKind,
} from "./cluster-facts.ts";
import { Installation } from "./installation.ts";
import { NodeFiles } from "./node-files.ts";

/** The node's directory is looked at again so often, whatever inotify says, ms. */
const LOOK_MS = 2_000;
/** Of what is asked before the end, ms. */
const LAST_QUESTION_MS = 3_000;
/** After an event: others of the same change follow it, ms. */
const SOON_MS = 50;

/**
 * Runs until SIGTERM or SIGINT. Resolves to the exit status.
 * @param config null: the node's mesh is no cluster's
 */
export async function runInstaller(config: CniConfig | null): Promise<number> {
  if (config === null) {
    process.stderr.write(
      "orlop cni: the mesh is not a cluster's\n" +
        "  why: it keeps the list of a cluster's namespaces\n  do:  write source: kubernetes in the NodeConfig\n",
    );
    return 65;
  }
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort());
  const log = new Log({ level: config.logLevel, write: (line) => process.stdout.write(line), now: Date.now }).room(
    "control",
  );
  const { signal } = stop;
  const readiness = new Readiness(["installed"]);
  await using open = new AsyncDisposableStack();
  const ready = await startReadyServer(config.ready, readiness, (message, fields) => log.warn(message, { ...fields }));
  open.defer(() => ready.close());
  const { api } = config;
  const server = "kubeconfig" in api ? kubeconfig(api.kubeconfig) : serviceAccount(api.server);
  const client = open.adopt(new ApiClient(server), (used) => used.close());
  const files = new NodeFiles(config);
  const installation = new Installation(files, config, log);
  const look = (): void => {
    if (installation.look()) readiness.done("installed");
    else readiness.undone("installed");
  };

  const namespaces = new MeshedNamespaces(config.daemonSet.namespace, config.honourIstioLabels);
  /** Undefined: the API server has not said. */
  let isThere: boolean | undefined;
  const know = (): void => {
    if (namespaces.ownGoes) installation.daemonSet(false);
    else if (isThere !== undefined) installation.daemonSet(isThere);
    look();
  };
  const follow = (kind: WatchedKind, changed: ConstructorParameters<typeof KindWatch>[1]["changed"]): Promise<void> =>
    new KindWatch(kind, {
      ask: (path, options) => client.ask(path, options),
      nowMs: () => performance.now(),
      sleep: (ms, ends) => sleep(ms, undefined, { signal: ends }),
      random: Math.random,
      changed,
      noted: ({ state, why }) => {
        if (state === "away")
          log.warn("the API server does not say: what is installed stays", { kind: kind.kind, why });
      },
    }).run(signal);
  const following = Promise.all([
    follow(namespaceKind, (changes) => {
      namespaces.apply(changes);
      installation.listed(namespaces.list);
      know();
    }),
    follow(daemonSetKind(config.daemonSet), (changes) => {
      isThere = isThereAfter(changes, isThere ?? false);
      know();
    }),
  ]);

  look();
  let soon: NodeJS.Timeout | undefined;
  const watcher = watch(config.confDir, () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      look();
    }, SOON_MS);
  });
  // The timer looks all the same.
  watcher.on("error", (error) => log.warn("the directory of CNI configurations cannot be watched", { error }));
  open.defer(() => {
    watcher.close();
    clearTimeout(soon);
  });
  const timer = setInterval(look, LOOK_MS);
  open.defer(() => clearInterval(timer));
  await following;
  // The end of the DaemonSet may be known to the kubelet before the watch brings it.
  isThere = (await isThereNow(client, config.daemonSet)) ?? isThere;
  know();
  log.info("stopping", { installed: files.hasConflist });
  return 0;
}

/** Undefined: the API server does not say. */
async function isThereNow(client: ApiClient, name: CniConfig["daemonSet"]): Promise<boolean | undefined> {
  try {
    const signal = AbortSignal.timeout(LAST_QUESTION_MS);
    const answer = await client.ask(daemonSetPath(name), { signal, idleMs: LAST_QUESTION_MS });
    if (answer.status === 404) return false;
    return answer.status === 200 ? !isGoing(await textOf(answer)) : undefined;
  } catch {
    return undefined;
  }
}
