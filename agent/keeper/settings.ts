// keeper · what the keeper is configured with; agent/config says it, once it has read a node's file. Types only.
import type { NodeAccessSettings } from "./node-access.ts";

export type KeeperSettings = {
  readonly node: string;
  /** Its own, beside the agent's run directory and not in it: `<runDir>-keeper`. Nobody else may write there. */
  readonly directory: string;
  /** The unix socket it serves, in that directory. */
  readonly socket: string;
  /** `<stateDir>-keeper`: its own as well, and outlives a reboot. */
  readonly stateDirectory: string;
  readonly bpffs: string;
  /** The directory above all pods; "auto": the kubelet's is looked for at the start; "mounted": where cgroup v2 is mounted. */
  readonly podsCgroup: string;
  /** A heartbeat older than this counts as no agent. */
  readonly heartbeatLimitMs: number;
  /** Programs of the node that reach its pods past their policy. */
  readonly nodeAccess: NodeAccessSettings;
  readonly agentUid: number;
  readonly log: { readonly level: string };
};
