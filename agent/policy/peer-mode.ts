// 9 · any thread · must the caller prove who it is? PeerAuthentication at four levels → one mode per port. Pure.
import type { MtlsMode, PeerAuthentication } from "../mesh/policies.ts";
import type { RuleRef } from "./decision.ts";

/**
 * DISABLE is "no mTLS": under the mesh it accepts plaintext exactly as PERMISSIVE does, and a caller that tunnels all the
 * same is let in too (as ztunnel); it stays apart only so that people see what was written.
 */
export type PeerMode = {
  readonly mode: Exclude<MtlsMode, "UNSET">;
  readonly level: "port" | "workload" | "namespace" | "mesh" | "default";
  /** null: nobody said anything, PERMISSIVE. */
  readonly decidedBy: RuleRef | null;
};

export type PeerModes = {
  /** For every port that is not in `byPort`. */
  readonly workload: PeerMode;
  readonly byPort: ReadonlyMap<number, PeerMode>;
};

const noPorts: ReadonlyMap<number, PeerMode> = new Map();
const byDefault: PeerMode = { mode: "PERMISSIVE", level: "default", decidedBy: null };

/**
 * @param policies those that bear on the workload (`Snapshot.peerAuthenticationsFor`).
 * The nearest level that says something wins; UNSET says nothing. Among several of one level Istio takes the oldest; a
 * file has no age, so it is the first by name, and a port that this one does not name is not looked up in the next.
 */
export function peerModesOf(policies: readonly PeerAuthentication[], rootNamespace: string): PeerModes {
  const overriding = policies.find(({ overrides }) => overrides === true);
  if (overriding !== undefined) {
    return { workload: { mode: "STRICT", level: "namespace", decidedBy: refOf(overriding) }, byPort: noPorts };
  }
  const ordered = policies.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const ofWorkload = ordered.find(isOfWorkload);
  const ofNamespace = ordered.find((policy) => !isOfWorkload(policy) && policy.namespace !== rootNamespace);
  const ofMesh = ordered.find((policy) => !isOfWorkload(policy) && policy.namespace === rootNamespace);

  const workload = said(ofWorkload, "workload") ?? said(ofNamespace, "namespace") ?? said(ofMesh, "mesh") ?? byDefault;
  const byPort = new Map<number, PeerMode>();
  for (const [port, mode] of Object.entries(ofWorkload?.portLevel ?? {})) {
    if (ofWorkload === undefined || mode === "UNSET") continue;
    byPort.set(Number(port), { mode, level: "port", decidedBy: refOf(ofWorkload) });
  }
  return { workload, byPort };
}

/** @param port of the workload, never of a Service. */
export function peerModeAt(modes: PeerModes, port: number): PeerMode {
  return modes.byPort.get(port) ?? modes.workload;
}

/** A selector without labels selects everything, as none does. */
function isOfWorkload({ selector }: PeerAuthentication): boolean {
  return selector !== null && Object.keys(selector).length > 0;
}

function said(policy: PeerAuthentication | undefined, level: PeerMode["level"]): PeerMode | undefined {
  if (policy === undefined || policy.mode === "UNSET") return undefined;
  return { mode: policy.mode, level, decidedBy: refOf(policy) };
}

function refOf({ namespace, name, from }: PeerAuthentication): RuleRef {
  return { kind: "PeerAuthentication", namespace, name, rule: -1, from };
}
