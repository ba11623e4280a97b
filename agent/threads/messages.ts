// any thread · the messages between them: plain data, integers and descriptors; never keys.
import type { EngineStats } from "../engine/engine.ts";
import type { ListenerKind, SocketKind } from "../keeper/protocol.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import type { LineBatch } from "../observe/line-writer.ts";
import type { LoopDelay } from "../observe/loop-delay.ts";
import type { OpenConnection, RecordDeltas } from "../observe/recorder.ts";

type LineBatchTaken = ReturnType<LineBatch["take"]>;

/** Given once, at the thread's birth. */
export type DataThreadOptions = {
  readonly index: number;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly accessLog: "off" | "text" | "json";
  /** Int32Array with one slot per thread; each counts its own loop's turns, so that main can tell a hung one. */
  readonly ticks: SharedArrayBuffer;
};

/** The receiving thread owns `fd`. */
export type LentFd = { readonly kind: ListenerKind; readonly fd: number };

export type ToDataThread =
  /** With `more`, they are applied together with what follows. */
  | { readonly op: "updates"; readonly updates: readonly MeshUpdate[]; readonly more: boolean }
  | { readonly op: "flow-map"; readonly fd: number }
  | {
      readonly op: "pod";
      readonly podIdx: number;
      readonly workloadUid: string;
      readonly netnsCookie: bigint;
      readonly preservesSource: boolean;
      readonly listeners: readonly LentFd[];
    }
  | { readonly op: "pod-removed"; readonly podIdx: number; readonly cut: boolean }
  /** The certificate of `spiffeId` is installed (again: `rotated`) under this integer. */
  | { readonly op: "identity"; readonly identity: number; readonly spiffeId: string; readonly rotated: boolean }
  | { readonly op: "sockets"; readonly podIdx: number; readonly kind: SocketKind; readonly fds: readonly number[] }
  | { readonly op: "report"; readonly id: number; readonly connections: boolean }
  | { readonly op: "drain"; readonly limitMs: number }
  | { readonly op: "close" };

export type FromDataThread =
  | { readonly op: "ready" }
  /** Updates of which there are more. */
  | { readonly op: "taken" }
  /** "pod" or "pod-removed" was carried out. */
  | { readonly op: "pod-done"; readonly podIdx: number }
  | { readonly op: "pool-low"; readonly podIdx: number; readonly kind: SocketKind; readonly count: number }
  /** What was counted since the last hand-over, and the access-log lines written meanwhile. */
  | { readonly op: "counted"; readonly deltas: RecordDeltas; readonly log: LineBatchTaken }
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
};
