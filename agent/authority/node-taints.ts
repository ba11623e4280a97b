// main thread · takes the taint `orlop.dev/not-ready` off nodes when their agent and CNI installer are ready, once for the same pods. It puts it on
// none: a node registers with it (kubelet --register-with-taints). daemonset/taint.yaml gives the right, and holds it to this one change.
import type { Ask } from "../control/kubernetes/api-answer.ts";
import { expectJson, Refused, textOf } from "../control/kubernetes/api-refusal.ts";
import { KindWatch } from "../control/kubernetes/kind-watch.ts";
import type { Logger } from "../observe/log.ts";
import { neededPodsKind, ReadyNodes } from "./ready-nodes.ts";

export const NODE_TAINT = "orlop.dev/not-ready";

export type NodeTaintPorts = {
  readonly ask: Ask;
  /** Rejects when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly log: Pick<Logger, "info" | "warn">;
};

const IDLE_MS = 5_000;
/** A node that could not be read or changed is tried again after so long, ms. */
const RETRY_MS = 2_000;

/** Resolves when the signal is aborted. */
export async function followNodeTaints(namespace: string, ports: NodeTaintPorts, signal: AbortSignal): Promise<void> {
  const nodes = new ReadyNodes();
  let isAway = false;
  let arrived = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => arrived.resolve(), { once: true });
  const watching = new KindWatch(neededPodsKind(namespace), {
    ...ports,
    changed: (changes) => {
      nodes.apply(changes);
      arrived.resolve();
    },
    noted: ({ state, why }) => {
      if (state === "away" && !isAway)
        ports.log.warn("taints of nodes stay: the pods of their agents cannot be read", { why });
      if (state !== "listing") isAway = state === "away";
    },
  }).run(signal);
  /** By node, for which pods its taint has been looked at. */
  const done = new Map<string, string>();
  while (!signal.aborted) {
    await arrived.promise;
    arrived = Promise.withResolvers();
    const { ready, nodes: known } = nodes;
    for (const node of done.keys()) if (!known.has(node)) done.delete(node);
    let hasFailed = false;
    for (const [node, pods] of ready) {
      if (done.get(node) === pods || signal.aborted) continue;
      try {
        if (await takeOff(node, ports.ask, signal)) ports.log.info("taint taken off", { node, taint: NODE_TAINT });
        done.set(node, pods);
      } catch (error) {
        if (signal.aborted) break;
        hasFailed = true;
        ports.log.warn("a taint could not be taken off", { node, taint: NODE_TAINT, error });
      }
    }
    if (hasFailed) void ports.sleep(RETRY_MS, signal).then(arrived.resolve, () => {});
    if (signal.aborted) break;
  }
  await watching;
}

/**
 * Resolves to false when the node has no such taint. The patch names the taint's place and what is there: where another has changed the list
 * meanwhile, nothing is changed (RFC 6902, section 4.6).
 * @throws Error when the server does not answer, or refuses
 */
async function takeOff(node: string, ask: Ask, signal: AbortSignal): Promise<boolean> {
  const path = `/api/v1/nodes/${encodeURIComponent(node)}`;
  const answer = await ask(path, { signal, idleMs: IDLE_MS });
  await expectJson(answer, path);
  const { spec } = JSON.parse(await textOf(answer)) as { readonly spec?: { readonly taints?: unknown } };
  const taints: readonly unknown[] = Array.isArray(spec?.taints) ? spec.taints : [];
  const at = taints.findIndex(isOurs);
  if (at < 0) return false;
  const place = `/spec/taints/${at}`;
  const object = [
    { op: "test", path: place, value: taints[at] },
    { op: "remove", path: place },
  ];
  const written = await ask(path, { signal, idleMs: IDLE_MS, write: { method: "PATCH", object } });
  const said = await textOf(written);
  if (written.status !== 200) throw new Refused(written, `${path}: ${said.slice(0, 300)}`);
  // A taint has an effect, and the same key may be there with each.
  return (await takeOff(node, ask, signal)) || true;
}

const isOurs = (taint: unknown): boolean =>
  typeof taint === "object" && taint !== null && "key" in taint && taint.key === NODE_TAINT;
