// any thread · the messages between main thread and data threads: plain data, integers, descriptors and the buckets of limits, which they share; never keys.
import type { EngineStats } from "../engine/engine.ts";
import type { ListenerKind, SocketKind } from "../keeper/protocol.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import type { LoggedRequests } from "../observe/access-log.ts";
import type { Lines } from "../observe/line-writer.ts";
import type { LoopDelay } from "../observe/loop-delay.ts";
import type { OpenConnection, RecordDeltas } from "../observe/recorder.ts";
import type { EjectedEndpoint } from "../traffic/endpoint-health.ts";
import type { SharedState } from "../traffic/shared-state.ts";

/** The main thread passes these when it starts a data thread. */
export type DataThreadOptions = {
  readonly index: number;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly accessLog: "off" | "text" | "json";
  readonly loggedRequests: LoggedRequests;
  /** Milliseconds that bytes of a relay may wait for an end that takes none; 0: for ever. */
  readonly unreadMs: number;
  /** An Int32Array with one slot per thread. Each thread counts the turns of its loop, so that main sees which one hangs. */
  readonly ticks: SharedArrayBuffer;
  /** What all data threads share about requests at the caller's end. */
  readonly shared: SharedState;
};

/** The receiving thread owns `fd`. */
export type ListenerFd = { readonly kind: ListenerKind; readonly fd: number };

/** `name`: `<namespace>/<name>` of a LimitPolicy. `cells`: agent/policy/limit-cells.ts. */
export type LimitBuffer = { readonly name: string; readonly cells: SharedArrayBuffer | null };

/** What the main thread sends to a data thread. */
export type MainMessage =
  /** With `more`, the thread applies them together with the updates that follow. */
  | { readonly op: "updates"; readonly updates: readonly MeshUpdate[]; readonly more: boolean }
  /** The buckets of these limits, of all data threads together; null: the limit is gone. Before the updates that bring the limit. */
  | { readonly op: "limit-cells"; readonly limits: readonly LimitBuffer[] }
  /** The map of original destinations. The thread owns the descriptor. */
  | { readonly op: "flow-map"; readonly fd: number }
  | {
      readonly op: "pod";
      readonly podIdx: number;
      readonly workloadUid: string;
      /** Under which it is captured. */
      readonly addresses: readonly string[];
      readonly netnsCookie: bigint;
      readonly preservesSource: boolean;
      readonly listeners: readonly ListenerFd[];
    }
  /** Capture is off: peers are to go elsewhere. */
  | { readonly op: "pod-leaves"; readonly podIdx: number }
  | { readonly op: "pod-removed"; readonly podIdx: number; readonly cut: boolean }
  /** The certificate of `spiffeId` is installed under this integer; `rotated` when it replaces an earlier certificate. */
  | { readonly op: "identity"; readonly identity: number; readonly spiffeId: string; readonly rotated: boolean }
  /** The certificate under this integer is no more. */
  | { readonly op: "identity-dropped"; readonly identity: number; readonly spiffeId: string }
  /** The roots in the engine's registry are others now. */
  | { readonly op: "roots" }
  | { readonly op: "sockets"; readonly podIdx: number; readonly kind: SocketKind; readonly fds: readonly number[] }
  | { readonly op: "report"; readonly id: number; readonly connections: boolean }
  | { readonly op: "drain"; readonly limitMs: number }
  | { readonly op: "close" };

/** What a data thread sends to the main thread. */
export type DataThreadMessage =
  | { readonly op: "ready" }
  /** The thread has read updates after which more follow. */
  | { readonly op: "taken" }
  /** The thread judges by the updates of another batch: once for each. */
  | { readonly op: "applied" }
  /** The thread has carried out "pod", "pod-leaves" or "pod-removed". */
  | { readonly op: "pod-done"; readonly podIdx: number }
  | { readonly op: "pool-low"; readonly podIdx: number; readonly kind: SocketKind; readonly count: number }
  /** What the thread counted since its last message of this kind, and the access-log lines that it wrote meanwhile. */
  | { readonly op: "counted"; readonly deltas: RecordDeltas; readonly log: Lines }
  | {
      readonly op: "log";
      readonly level: "info" | "warn" | "error";
      readonly room: "traffic" | "engine";
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number>>;
    }
  | {
      readonly op: "handshake-failed";
      readonly reason: string;
      readonly peer: string;
      readonly podIdx: number;
      readonly message: string;
    }
  | { readonly op: "tunnel-abused"; readonly reason: string; readonly peer: string; readonly podIdx: number }
  | { readonly op: "report"; readonly id: number; readonly report: ThreadReport }
  | { readonly op: "drained" };

export type ThreadReport = {
  readonly engine: EngineStats;
  readonly loopDelay: LoopDelay;
  readonly connections: readonly OpenConnection[];
  /** As connections only where they are asked for: endpoints that are left out, as far as the thread has met them. */
  readonly ejected: readonly EjectedEndpoint[];
};
