// main thread · what the keeper's coming and going means for the other parts of the agent.
import type { Holding, KeeperEvents, LentMaps } from "../engine/keeper-client.ts";
import type { Log } from "../observe/log.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { AgentCounts } from "./agent-counts.ts";
import type { NodeEnrollment } from "./enrollment.ts";
import type { NodeEnrollmentPorts } from "./enrollment-ports.ts";
import type { NodeTenure } from "./tenure.ts";

type UsesMaps = { readonly opened: (maps: LentMaps) => void };

export type KeeperEventParts = {
  readonly tenure: Pick<NodeTenure, "welcomed" | "happened">;
  readonly enrollment: Pick<NodeEnrollment, "podGone" | "podGuarded" | "podStarting" | "hasBegun">;
  readonly counts: Pick<AgentCounts, "podFound">;
  readonly notices: Pick<PodNotices, "hear">;
  /** Whether the agent has a keeper now. */
  readonly connected: (now: boolean) => void;
  readonly log: Pick<Log, "room">;
};

export function keeperEvents({ tenure, enrollment, counts, notices, connected, log }: KeeperEventParts): KeeperEvents {
  return {
    onWelcome: (welcome) => {
      connected(true);
      log.room("keeper").info("keeper connected", { captured: welcome.pods.length });
      tenure.welcomed(welcome);
    },
    onLost: (why) => {
      connected(false);
      log.room("keeper").warn("keeper lost: pods that are captured go on", { why });
      tenure.happened({ type: "lost" });
    },
    onPodGone: (podIdx, uid) => {
      log.room("keeper").info("pod gone", { uid });
      notices.hear(() => enrollment.podGone(podIdx, uid));
    },
    // Counted are pods that begin; a pod that ran already when policy came to protect it is none.
    onPodFound: (uid, found) => {
      if (found !== undefined && enrollment.hasBegun(uid)) counts.podFound(found);
    },
    onPodGuarded: (podIdx, uid, found) => {
      if (found !== undefined) counts.podFound(found);
      log.room("keeper").info("pod guarded until it is captured", { uid });
      notices.hear(() => enrollment.podGuarded(podIdx, uid));
    },
    onPodStarting: (podIdx, uid, called) => {
      log.room("keeper").debug("pod begins", { uid });
      notices.hear(() => enrollment.podStarting(podIdx, uid, called));
    },
    onYield: () => tenure.happened({ type: "yield" }),
    onVacant: () => tenure.happened({ type: "vacant" }),
    onSettled: () => tenure.happened({ type: "settled" }),
    onReread: () => tenure.happened({ type: "reread" }),
  };
}

/** Keeps the keeper's notices of pods back until the agent works with the list of pods that the keeper sent before them. */
export class PodNotices {
  #waiting: (() => void)[] | undefined;

  hear(notice: () => void): void {
    if (this.#waiting === undefined) notice();
    else this.#waiting.push(notice);
  }

  wait(): void {
    this.#waiting ??= [];
  }

  go(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const notice of waiting) notice();
  }
}

export type HoldParts = {
  /** The parts that read or write kernel maps, in the order in which they open them. Each makes a descriptor of its own of what it needs. */
  readonly users: readonly UsesMaps[];
  readonly threads: Pick<DataThreads, "setFlowMap">;
  /** Closes a descriptor that the keeper has lent. */
  readonly close: (fd: number) => void;
  readonly enrollment: Pick<NodeEnrollment, "keeperCame" | "firstTurn">;
};

/**
 * The agent holds the node from here on: opens the maps, then brings the pods into service. Resolves when the mesh was read and each pod
 * serves that can. Throws when a map is of another layout.
 */
export function holdNode({ maps, pods }: Holding, { users, threads, close, enrollment }: HoldParts): Promise<unknown> {
  const { dst_of_flow: flows, ...others } = maps;
  try {
    for (const user of users) user.opened(maps);
  } finally {
    // A keeper that comes again lends all of them again.
    for (const fd of Object.values(others)) close(fd);
  }
  threads.setFlowMap(flows);
  return Promise.all([enrollment.keeperCame(pods), enrollment.firstTurn]);
}

/** The keeper as enrollment sees it: there is none while this agent does not hold the node. */
export function keeperOfHolder(
  keeper: NodeEnrollmentPorts["keeper"],
  holds: () => boolean,
  Lost: new (why: string) => Error,
): NodeEnrollmentPorts["keeper"] {
  const held = async <Answer>(ask: () => Promise<Answer>): Promise<Answer> => {
    if (!holds()) throw new Lost("another agent holds the node");
    return ask();
  };
  return {
    get connected() {
      return holds() && keeper.connected;
    },
    guard: (uid, workload) => held(() => keeper.guard(uid, workload)),
    name: (pod, workload) => held(() => keeper.name(pod, workload)),
    knownOf: (pod) => held(() => keeper.knownOf(pod)),
    prepare: (uid, addresses) => held(() => keeper.prepare(uid, addresses)),
    setAddresses: (pod, addresses) => held(() => keeper.setAddresses(pod, addresses)),
    capture: (pod, failDirect) => held(() => keeper.capture(pod, failDirect)),
    release: (pod) => held(() => keeper.release(pod)),
    releaseToGuard: (pod, workload) => held(() => keeper.releaseToGuard(pod, workload)),
    // The agent that holds the node sweeps each pod that it brings into service.
    sever: async (pod) => (holds() ? keeper.sever(pod) : undefined),
  };
}
