// start-up · what the programs of a node are configured with: one immutable value, a slice per room.
import type { NodeSpec } from "../control/kinds/node-config.ts";
import type { NodeSettings } from "../control/kinds/node-settings.ts";
import type { KeeperSettings } from "../keeper/settings.ts";

/** All that the privileged program reads. */
export type KeeperConfig = KeeperSettings & {
  /** The group of its socket. */
  readonly agentGid: number;
  readonly log: { readonly level: NodeSpec["log"]["level"] };
};

/** Who says what the mesh is, and where its last good form is kept. */
export type SourceConfig =
  /** A file, or a directory of files. */
  | { readonly kind: "file"; readonly path: string; readonly lastGoodFile: string }
  | {
      readonly kind: "kubernetes";
      /** `https://host:port` of the pod's cluster, or a kubeconfig. */
      readonly api: { readonly server: string } | { readonly kubeconfig: string };
      readonly lastGoodFile: string;
    };

/** Who signs the certificates of this node's pods. */
export type CaConfig =
  | { readonly provider: "embedded"; readonly rootFile: string; readonly leafTtlSeconds: number }
  | {
      readonly provider: "service";
      /** `https://host:port`. */
      readonly address: string;
      readonly tokenFile: string;
      readonly rootsFile: string;
      /** Empty: `rootsFile`. */
      readonly serverRootsFile: string;
      readonly leafTtlSeconds: number;
    };

export type AgentConfig = {
  readonly settings: NodeSettings;
  readonly runDir: string;
  /** Outlives a reboot. */
  readonly stateDir: string;
  readonly source: SourceConfig;
  readonly ca: CaConfig;
  readonly dataThreads: number;
  /** Of clients that offer a hybrid key exchange without a key share for it. */
  readonly askForHybrid: boolean;
  /** Of tunnels, behind their handshakes (docs/reference/records.md). */
  readonly recordLayer: NodeSpec["tls"]["recordLayer"];
  /** How long bytes of a relay may wait for an end that takes none; 0: for ever. */
  readonly unreadMs: number;
  readonly keeper: { readonly socket: string };
  readonly admin: { readonly socket: string };
  readonly metrics: { readonly host: string; readonly port: number };
  readonly ready: { readonly host: string; readonly port: number };
  /** `access`: stdout, off or a path. */
  readonly log: NodeSpec["log"];
  readonly agentUid: number;
  readonly agentGid: number;
};

/** All that `orlop cni` reads. */
export type CniConfig = {
  readonly api: Extract<SourceConfig, { readonly kind: "kubernetes" }>["api"];
  readonly honourIstioLabels: boolean;
  /** Where the plug-in asks the keeper. */
  readonly socket: string;
  readonly confDir: string;
  readonly binDir: string;
  readonly stateDir: string;
  /** Of the plug-in, in this installation. */
  readonly binary: string;
  readonly withoutList: "pass" | "refuse";
  readonly exempt: readonly string[];
  readonly daemonSet: { readonly namespace: string; readonly name: string };
  readonly ready: { readonly host: string; readonly port: number };
  readonly logLevel: NodeSpec["log"]["level"];
};

/** `cni`: null unless the mesh is a cluster's. */
export type Config = { readonly keeper: KeeperConfig; readonly agent: AgentConfig; readonly cni: CniConfig | null };
