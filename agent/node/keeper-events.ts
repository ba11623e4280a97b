// main thread · what the keeper's coming and going means for the other parts of the agent.
import type { KeeperEvents, LentMaps } from "../engine/keeper-client.ts";
import type { Log } from "../observe/log.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { NodeEnrollment } from "./enrollment.ts";

type UsesMaps = { readonly opened: (maps: LentMaps) => void };

export type KeeperEventParts = {
  /** The parts that read or write kernel maps, in the order in which they open them. */
  readonly users: readonly UsesMaps[];
  readonly threads: Pick<DataThreads, "setFlowMap">;
  readonly enrollment: Pick<NodeEnrollment, "keeperCame" | "podGone" | "podGuarded">;
  /** Whether the agent has a keeper now. */
  readonly connected: (now: boolean) => void;
  readonly log: Pick<Log, "room">;
};

export function keeperEvents({ users, threads, enrollment, connected, log }: KeeperEventParts): KeeperEvents {
  return {
    onWelcome: ({ maps, pods }) => {
      for (const user of users) user.opened(maps);
      threads.setFlowMap(maps.dst_of_flow);
      connected(true);
      log.room("keeper").info("keeper connected", { captured: pods.length });
      void enrollment.keeperCame(pods);
    },
    onLost: (why) => {
      connected(false);
      log.room("keeper").warn("keeper lost: pods that are captured go on", { why });
    },
    onPodGone: (podIdx, uid) => {
      log.room("keeper").info("pod gone", { uid });
      enrollment.podGone(podIdx);
    },
    onPodGuarded: (podIdx, uid) => {
      log.room("keeper").info("pod guarded until it is captured", { uid });
      enrollment.podGuarded(podIdx, uid);
    },
  };
}
