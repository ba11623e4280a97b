// main thread · what the enrollment of a node's pods needs of the rest of the agent, and its times.
import type { KeeperClient, PreparedPod } from "../engine/keeper-client.ts";
import type { KeeperRefused } from "../engine/keeper-session.ts";
import type { Certificates } from "../identity/certificates.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Logger } from "../observe/log.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { MeshSource } from "./mesh-source.ts";

export type NodeEnrollmentPorts = {
  readonly mesh: Pick<Snapshot, "version" | "workload" | "workloadAt" | "rivalsAt" | "serviceAt" | "workloadsOnNode">;
  readonly keeper: Pick<
    KeeperClient,
    | "connected"
    | "guard"
    | "name"
    | "knownOf"
    | "prepare"
    | "setAddresses"
    | "capture"
    | "release"
    | "releaseToGuard"
    | "sever"
  >;
  readonly threads: Pick<DataThreads, "servePod" | "leavePod" | "removePod">;
  readonly tables: Pick<KernelTables, "setPod" | "removePod" | "failDirect" | "refusesPlaintext">;
  /** Of a prepared pod, at which no thread is to accept. While they are open the keeper can open no others in the pod's namespace. */
  readonly closeListeners: (listeners: PreparedPod["listeners"]) => void;
  readonly certificates: Pick<Certificates, "hold" | "release" | "ready" | "isReady">;
  readonly log: Logger;
  /** Whether the pod was outside the mesh, by what the API server says since this was asked. Rejects when nobody says it. */
  readonly wasOutside: MeshSource["wasOutside"];
  /** Pods came into service or left it, or something about them has changed. */
  readonly podsChanged: () => void;
};

/** Milliseconds. */
export type EnrollmentTimes = typeof defaultTimes;

export const defaultTimes = {
  /** What comes to a pod through the mesh waits this long for the pod's first certificate, and is refused after it. */
  certificate: 5_000,
  /** After capture is off, the threads accept what waits at the listeners; on a busy machine that takes a while. */
  linger: 500,
  /** After this time the agent asks again for a pod that the keeper could not find or enter. */
  retry: 1_000,
  /** While steps are under way the kernel's joined pairs are brought up to date this often. */
  tell: 100,
};

/** Whether the keeper refused the request. Compared by name, because the agent's rooms import only types of `agent/engine`. */
export function isRefused(error: unknown): error is KeeperRefused {
  return error instanceof Error && error.name === "KeeperRefused";
}
