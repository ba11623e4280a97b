// main and data threads · the messages between them: plain data, integers and descriptors; never keys.
import type { Answer } from "./engine/answers.ts";
import type { EngineStats } from "./engine/engine.ts";
import type { ListenerKind, SocketKind } from "./keeper/protocol.ts";
import type { MeshUpdate } from "./mesh/mesh-update.ts";
import type { ConnectionRecord } from "./observe/record.ts";

/** Given once, at the thread's birth. */
export type DataThreadOptions = {
  readonly index: number;
  readonly node: string;
  readonly network: string;
  readonly cluster: string;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  /** Int32Array with one slot per thread; each counts its own loop's turns, so that main can tell a hung one. */
  readonly ticks: SharedArrayBuffer;
};

export type LentFd = { readonly kind: ListenerKind; readonly fd: number };

export type ToDataThread =
  | { readonly op: "updates"; readonly updates: readonly MeshUpdate[] }
  /** Descriptors in messages are the receiving thread's own: it closes them. */
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
  /** The certificate of `spiffeId` is installed (again) under this integer. */
  | { readonly op: "identity"; readonly identity: number; readonly spiffeId: string; readonly rotated: boolean }
  | { readonly op: "sockets"; readonly podIdx: number; readonly kind: SocketKind; readonly fds: readonly number[] }
  | { readonly op: "report"; readonly id: number; readonly connections: boolean }
  | { readonly op: "drain" }
  | { readonly op: "close" };

export type FromDataThread =
  | { readonly op: "ready"; readonly index: number }
  | { readonly op: "pod-serving"; readonly podIdx: number }
  | { readonly op: "pool-low"; readonly podIdx: number; readonly kind: SocketKind; readonly count: number }
  | { readonly op: "records"; readonly records: readonly ConnectionRecord[] }
  | { readonly op: "log"; readonly level: "debug" | "info" | "warn" | "error"; readonly room: string; readonly message: string }
  | { readonly op: "handshake-failed"; readonly reason: string; readonly peer: string; readonly podIdx: number; readonly message: string }
  | { readonly op: "tunnel-abused"; readonly reason: string; readonly peer: string; readonly podIdx: number }
  | { readonly op: "report"; readonly id: number; readonly report: ThreadReport };

export type ThreadReport = { readonly engine: EngineStats; readonly connections: readonly ConnectionRecord[] };

export type { Answer };
