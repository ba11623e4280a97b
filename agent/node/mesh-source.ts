// main thread · builder · the source that the node's configuration names: files, or the API server of a cluster. What it reads here it
// reads while the agent may still read what is root's.
import { setTimeout as delay } from "node:timers/promises";
import type { AgentConfig } from "../config/config.ts";
import type { Ask } from "../control/kubernetes/api-answer.ts";
import { ApiClient } from "../control/kubernetes/api-client.ts";
import { kubeconfig, serviceAccount } from "../control/kubernetes/credentials.ts";
import { type NamedPod, wasOutside } from "../control/kubernetes/pod-word.ts";
import { KubernetesSource } from "../control/kubernetes/source.ts";
import type { ConfigurationSource, SourceStatus } from "../control/source.ts";
import { StaticFileSource } from "../control/static-file/source.ts";
import type { Logger } from "../observe/log.ts";
import { collectGarbage } from "../process/collect-garbage.ts";
import type { Built } from "./built.ts";

export type MeshSource = {
  readonly source: ConfigurationSource;
  /** This agent takes the node: resolves when nothing older is in force here than what the agent before it had in force. */
  readonly hold: () => Promise<void>;
  /** Another agent is to take the node. Resolves when that agent can read what was in force here. */
  readonly yield: () => Promise<void>;
  /** Whether the pod, which is about to begin, was outside the mesh at some moment since this was asked. Rejects when nobody says it. */
  readonly wasOutside: (pod: NamedPod, signal: AbortSignal) => Promise<boolean>;
  /** The next agent serves, and keeps the last good mesh from now on. */
  readonly leave: () => void;
};

/** @throws ConfigError when the credentials cannot be read */
export function meshSource(
  { source, settings }: Pick<AgentConfig, "source" | "settings">,
  log: Pick<Logger, "warn" | "error">,
): Built<MeshSource> {
  const warn = (message: string): void => log.warn(message);
  if (source.kind === "file") {
    const { path, lastGoodFile } = source;
    const changed = (status: SourceStatus): void => sayRefused(status, log);
    const free = (): void => collectGarbage("regular");
    const dependencies = { wallMs: Date.now, changed, warn, collectGarbage: free };
    const files = new StaticFileSource({ path, lastGoodFile, settings }, dependencies);
    return {
      thing: {
        ...{ source: files, hold: () => files.hold(), yield: () => files.yield(), leave: () => files.leave() },
        // There is nothing behind the files that could know more.
        wasOutside: () => Promise.resolve(true),
      },
      close: () => {},
    };
  }
  const { api, lastGoodFile } = source;
  const server = "kubeconfig" in api ? kubeconfig(api.kubeconfig) : serviceAccount(api.server);
  const client = new ApiClient(server);
  const ask: Ask = (path, options) => client.ask(path, options);
  const cluster = new KubernetesSource(
    { server: server.server, settings, lastGoodFile },
    {
      ...{
        ask,
        wallMs: Date.now,
        collectGarbage: (last) => collectGarbage(last ? "last-resort" : "regular"),
      },
      ...{ changed: sayClosed(log), log: warn },
    },
  );
  // The API server says the same to both agents, and what is read takes effect at once, so there is nothing to catch up with.
  const nothing = (): Promise<void> => Promise.resolve();
  return {
    thing: {
      ...{ source: cluster, hold: nothing, yield: nothing, leave: () => cluster.stopKeeping() },
      wasOutside: (pod, signal) => wasOutside(ask, settings, pod, signal),
    },
    close: () => client.close(),
  };
}

/** A file that is written all the time must not keep the next agent from taking over, ms. */
const HELD_MS = 10_000;
const LOOK_MS = 50;

/** The agent that holds the node may accept at any moment what this one still holds back: this one does not ask for the node meanwhile. */
export async function untilNothingIsHeld(source: Pick<ConfigurationSource, "status">): Promise<void> {
  const giveUpMs = performance.now() + HELD_MS;
  while (source.status().state === "held" && performance.now() < giveUpMs)
    await delay(LOOK_MS, undefined, { ref: false });
}

function sayRefused({ state, problems }: SourceStatus, log: Pick<Logger, "warn" | "error">): void {
  if (state === "rejected") log.error("configuration rejected; what ran before runs on", { problems: [...problems] });
  if (state === "held")
    log.warn("configuration held until its file is still; what ran before runs on", { problems: [...problems] });
}

/** Says once of each version of an object what is wrong with it. */
function sayClosed(log: Pick<Logger, "warn">): (status: SourceStatus) => void {
  let said = new Set<string>();
  return ({ problems }) => {
    const now = new Map(problems.map((problem) => [JSON.stringify(problem), problem]));
    const fresh = [...now].filter(([text]) => !said.has(text)).map(([, problem]) => problem);
    said = new Set(now.keys());
    if (fresh.length > 0) log.warn("objects that cannot be read count in their closed form", { problems: fresh });
  };
}
