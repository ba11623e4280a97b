// main thread · builder · what the data threads ask of the agent and report to it: sockets, counts, log lines, failures of peers.
import type { KeeperClient } from "../engine/keeper-client.ts";
import type { Log } from "../observe/log.ts";
import type { AgentMessage, DataThreads } from "../threads/data-threads.ts";
import type { AgentCounts } from "./agent-counts.ts";
import type { Built } from "./built.ts";
import { LineLimit } from "./line-limit.ts";

export type ThreadMessageParts = {
  readonly threads: Pick<DataThreads, "listen" | "addSockets" | "close">;
  readonly keeper: Pick<KeeperClient, "sockets">;
  /** Of the pod that the agent holds, or held last, under that index. */
  readonly uidOf: (podIdx: number) => string | undefined;
  readonly counts: Pick<AgentCounts, "counted" | "peers">;
  readonly log: Pick<Log, "room">;
};

/** Lines a second about handshakes at :15008, which any peer can cause; the metric counts all of them. */
const HANDSHAKE_LINES = 10;
/** Lines a second of the threads' own, which each request may cause that meets a fault of ours. */
const THREAD_LINES = 10;

/** Listens to the threads. To close it ends them, since their last counts are still to be heard. */
export function hearThreads({ threads, keeper, uidOf, counts, log }: ThreadMessageParts): Built<void> {
  const handshakes = new LineLimit<Extract<AgentMessage, { op: "handshake-failed" }>>({
    perSecond: HANDSHAKE_LINES,
    write: (message) => log.room("traffic").info("handshake failed", { ...message }),
    leftOut: (count) => log.room("traffic").warn("handshakes failed: lines were left out", { count }),
  });
  const lines = new LineLimit<Extract<AgentMessage, { op: "log" }>>({
    perSecond: THREAD_LINES,
    write: ({ room, level, message, fields }) => log.room(room)[level](message, fields),
    leftOut: (count) => log.room("traffic").warn("data threads had more to say: lines were left out", { count }),
  });
  threads.listen((thread, message) => {
    switch (message.op) {
      case "pool-low":
        void refill(thread, message);
        return;
      case "log":
        lines.add(message);
        return;
      case "counted":
        counts.counted(thread, message.deltas, message.log);
        return;
      case "handshake-failed":
        counts.peers.handshakeFailed(message.reason);
        handshakes.add(message);
        return;
      case "tunnel-abused":
        counts.peers.tunnelAbused(message.reason);
        log.room("traffic").warn("tunnel ended: its peer broke the rules", { ...message });
        return;
    }
  });

  async function refill(
    thread: number,
    { podIdx, kind, count }: Extract<AgentMessage, { readonly op: "pool-low" }>,
  ): Promise<void> {
    try {
      const uid = uidOf(podIdx);
      if (uid === undefined) throw new Error("no such pod");
      const fds = await keeper.sockets({ podIdx, uid }, kind, count);
      threads.addSockets(thread, { op: "sockets", podIdx, kind, fds: [...fds] });
    } catch (error) {
      // The engine asks again while a connection waits, and refuses it with "no-socket" when its patience ends.
      log.room("keeper").warn("no sockets", { podIdx, kind, error });
    }
  }

  return {
    thing: undefined,
    close: async () => {
      await threads.close();
      handshakes.close();
      lines.close();
    },
  };
}
