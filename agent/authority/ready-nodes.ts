// any thread · the nodes on which both agent and CNI installer are ready, by the pods of their DaemonSets. Pure but for its state.
import { unpacked } from "../control/kubernetes/copy-file.ts";
import type { WatchedKind } from "../control/kubernetes/watched-kinds.ts";

/** The label `app` of the pods that a node needs (daemonset/manifest.yaml, daemonset/cni.yaml). */
const NEEDED = ["orlop-agent", "orlop-cni"] as const;

export const neededPodsKind = (namespace: string): WatchedKind => ({
  ...{ kind: "Pod", apiVersion: "v1", path: `/api/v1/namespaces/${namespace}/pods` },
  ...{ selector: `labelSelector=app%20in%20%28${NEEDED.join("%2C")}%29`, isCustom: false, otherVersions: [] },
});

type NeededPod = { readonly uid: string; readonly app: string; readonly node: string; readonly isReady: boolean };

export class ReadyNodes {
  /** By name. */
  readonly #pods = new Map<string, NeededPod>();

  apply(changes: Parameters<typeof unpacked>[0]): void {
    for (const change of unpacked(changes)) {
      if (change.op === "present") this.#pods.set(change.version.name, podOf(change.uid, change.object));
      else this.#pods.delete(change.object.name);
    }
  }

  /** Nodes that have any of these pods. */
  get nodes(): ReadonlySet<string> {
    return new Set([...this.#pods.values()].map(({ node }) => node));
  }

  /** By node, the UIDs of the pods that make it ready, as a text. Another text may mean another node of the same name. */
  get ready(): ReadonlyMap<string, string> {
    const byNode = Map.groupBy(
      [...this.#pods.values()].filter(({ isReady, node }) => isReady && node !== ""),
      ({ node }) => node,
    );
    const whole = [...byNode].filter(([, pods]) => NEEDED.every((app) => pods.some((pod) => pod.app === app)));
    const textOf = (pods: readonly NeededPod[]): string =>
      pods
        .map(({ uid }) => uid)
        .toSorted()
        .join(" ");
    return new Map(whole.map(([node, pods]) => [node, textOf(pods)]));
  }
}

function podOf(uid: string, object: unknown): NeededPod {
  const { metadata, spec, status } = recordOf(object);
  const { labels, deletionTimestamp } = recordOf(metadata);
  const { app } = recordOf(labels);
  const { nodeName } = recordOf(spec);
  const { conditions } = recordOf(status);
  const isReady =
    deletionTimestamp === undefined &&
    Array.isArray(conditions) &&
    conditions.map(recordOf).some(({ type, status: is }) => type === "Ready" && is === "True");
  return { uid, app: typeof app === "string" ? app : "", node: typeof nodeName === "string" ? nodeName : "", isReady };
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}
