// any thread · what the installer knows of the cluster: which namespaces are in the mesh, and whether its own DaemonSet is there. Pure but
// for its state.
import { unpacked } from "../control/kubernetes/copy-file.ts";
import type { WatchedKind } from "../control/kubernetes/watched-kinds.ts";
import { membershipOf } from "../mesh/names.ts";

export type DaemonSetName = { readonly namespace: string; readonly name: string };
type Changes = Parameters<typeof unpacked>[0];

/** The installer itself: what deletes it deletes what it has installed. */
export const daemonSetKind = ({ namespace, name }: DaemonSetName): WatchedKind => ({
  ...{ kind: "DaemonSet", apiVersion: "apps/v1", path: `/apis/apps/v1/namespaces/${namespace}/daemonsets` },
  ...{ selector: `fieldSelector=metadata.name%3D${name}`, isCustom: false, otherVersions: [] },
});

export const namespaceKind: WatchedKind = {
  ...{ kind: "Namespace", apiVersion: "v1", path: "/api/v1/namespaces" },
  ...{ selector: "", isCustom: false, otherVersions: [] },
};

/** Namespaces of the mesh, and whether the installer's own is being deleted with all that is in it. */
export class MeshedNamespaces {
  readonly #names = new Set<string>();
  readonly #own: string;
  readonly #honoursIstio: boolean;
  #ownGoes = false;

  constructor(own: string, honoursIstioLabels: boolean) {
    this.#own = own;
    this.#honoursIstio = honoursIstioLabels;
  }

  apply(changes: Changes): void {
    for (const change of unpacked(changes)) {
      const name = change.op === "present" ? change.version.name : change.object.name;
      const isIn = change.op === "present" && membershipOf(labelsOf(change.object), this.#honoursIstio) === "in";
      if (isIn) this.#names.add(name);
      else this.#names.delete(name);
      const goes = change.op !== "present" || metadataOf(change.object).deletionTimestamp !== undefined;
      if (name === this.#own) this.#ownGoes = goes;
    }
  }

  /** The installer's own has gone, or goes: its pods may go before what keeps them. */
  get ownGoes(): boolean {
    return this.#ownGoes;
  }

  /** As the plug-in reads it (native/cni/call.h). */
  get list(): string {
    const lines = [...this.#names].toSorted().map((name) => `${name}\n`);
    return `orlop namespaces 1\n${lines.join("")}end\n`;
  }
}

export const daemonSetPath = ({ namespace, name }: DaemonSetName): string =>
  `/apis/apps/v1/namespaces/${namespace}/daemonsets/${name}`;

/** Is it being deleted, by the text of an object? @throws SyntaxError when the text is no JSON */
export const isGoing = (text: string): boolean => metadataOf(JSON.parse(text)).deletionTimestamp !== undefined;

/** Whether the DaemonSet is there after these changes, which concern no other object. `before`: as it was known. */
export function isThereAfter(changes: Changes, before: boolean): boolean {
  let isThere = before;
  for (const change of unpacked(changes)) {
    const metadata = change.op === "present" ? metadataOf(change.object) : undefined;
    isThere = metadata !== undefined && metadata.deletionTimestamp === undefined;
  }
  return isThere;
}

function metadataOf(object: unknown): Readonly<Record<string, unknown>> {
  const metadata = isRecord(object) ? object.metadata : undefined;
  return isRecord(metadata) ? metadata : {};
}

function labelsOf(object: unknown): Readonly<Record<string, string>> {
  const { labels } = metadataOf(object);
  if (!isRecord(labels)) return {};
  return Object.fromEntries(
    Object.entries(labels).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
