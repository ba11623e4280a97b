// main thread · writes what became of each route into its status, by a single replica at a time (lease.ts). A status is written when it
// is not what it has to be, over the version that was read and no other.
import type { Ask } from "../control/kubernetes/api-answer.ts";
import { Refused, textOf } from "../control/kubernetes/api-refusal.ts";
import { type PackedChange, unpacked } from "../control/kubernetes/copy-file.ts";
import { KindWatch } from "../control/kubernetes/kind-watch.ts";
import { type WatchedKind, watchedKinds } from "../control/kubernetes/watched-kinds.ts";
import type { ObjectVersion } from "../mesh/source-ref.ts";
import type { Logger } from "../observe/log.ts";
import { type KnownPort, type PortsOfService, parentsOf } from "./route-status.ts";

export type RouteStatusPorts = {
  readonly ask: Ask;
  /** Rejects when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
  readonly log: Pick<Logger, "info" | "warn">;
  /** Whether this replica is to write. */
  readonly mayWrite: () => boolean;
};

type KnownRoute = { readonly version: ObjectVersion; readonly apiVersion: string; readonly object: unknown };

const IDLE_MS = 5_000;
/** What could not be written is tried again after so long, and so long passes between looks at the lease, ms. */
const RETRY_MS = 2_000;

/** Kinds of routes, as they are in paths. */
const plurals: Readonly<Record<string, string>> = {
  HTTPRoute: "httproutes",
  GRPCRoute: "grpcroutes",
  TLSRoute: "tlsroutes",
  TCPRoute: "tcproutes",
};

const kindOf = (name: string): WatchedKind => {
  const found = watchedKinds.find(({ kind }) => kind === name);
  if (found === undefined) throw new Error(`${name} is not watched`);
  return found;
};

/** Of several kinds about a port the first counts (gateway-api:geps/gep-1294, "Route types"). */
const order = ["GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute"];

/** Routes of the same namespace of which each may take the place of this. */
const strongerThan = (
  { kind, namespace }: ObjectVersion,
  routes: ReadonlyMap<string, KnownRoute>,
): readonly unknown[] =>
  [...routes.values()]
    .filter(({ version }) => version.namespace === namespace && order.indexOf(version.kind) < order.indexOf(kind))
    .map(({ object }) => object);

/** Resolves when the signal is aborted. */
export async function followRouteStatuses(ports: RouteStatusPorts, signal: AbortSignal): Promise<void> {
  const routes = new Map<string, KnownRoute>();
  const services = new Map<string, readonly KnownPort[]>();
  /** Routes whose status may not be what it has to be. */
  const dirty = new Set<string>();
  let arrived = Promise.withResolvers<void>();
  const watch = (kind: string, take: (changes: readonly PackedChange[]) => void): KindWatch => {
    let isAway = false;
    return new KindWatch(kindOf(kind), {
      ...ports,
      changed: (changes) => {
        take(changes);
        arrived.resolve();
      },
      noted: ({ state, why }) => {
        if (state === "away" && !isAway) ports.log.warn("statuses of routes stay as they are", { kind, why });
        if (state !== "listing") isAway = state === "away";
      },
    });
  };
  const watches = [
    ...Object.keys(plurals).map((kind) =>
      watch(kind, (changes) => {
        for (const change of unpacked(changes)) {
          const { namespace, name } = change.op === "present" ? change.version : change.object;
          const key = `${kind} ${namespace}/${name}`;
          if (change.op === "present") routes.set(key, change);
          else routes.delete(key);
          dirty.add(key);
          // It may take the place of any route of its namespace, or have done so.
          if (kind === order.at(-1)) continue;
          for (const [other, { version }] of routes) if (version.namespace === namespace) dirty.add(other);
        }
      }),
    ),
    watch("Service", (changes) => {
      for (const change of unpacked(changes)) {
        const { namespace, name } = change.op === "present" ? change.version : change.object;
        if (change.op === "present") services.set(`${namespace}/${name}`, portsIn(change.object));
        else services.delete(`${namespace}/${name}`);
      }
      // Any of them may be a parent or a backend of any route.
      for (const key of routes.keys()) dirty.add(key);
    }),
  ];
  const running = Promise.all(watches.map((each) => each.run(signal)));
  while (!signal.aborted) {
    const isReady = watches.every(({ mirror }) => mirror.synced) && ports.mayWrite();
    const failed = new Set<string>();
    for (const key of isReady ? [...dirty] : []) {
      if (signal.aborted || !ports.mayWrite()) break;
      dirty.delete(key);
      const route = routes.get(key);
      if (route === undefined) continue;
      try {
        const others = strongerThan(route.version, routes);
        if (await write(route, { portsOf: (service) => services.get(service), others }, ports, signal))
          ports.log.info("status written", { route: key });
      } catch (error) {
        if (signal.aborted) break;
        failed.add(key);
        ports.log.warn("a status could not be written", { route: key, error });
      }
    }
    for (const key of failed) dirty.add(key);
    if (failed.size > 0 || !isReady) await ports.sleep(RETRY_MS, signal).catch(() => {});
    else if (dirty.size === 0) await Promise.race([arrived.promise, ended(signal)]);
    arrived = Promise.withResolvers();
  }
  await running;
}

const ended = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

/**
 * Resolves to false when the status is as it has to be, or when the route has another version by now, which the watch brings.
 * @throws Error when the server does not answer, or refuses
 */
async function write(
  { version, apiVersion, object }: KnownRoute,
  { portsOf, others }: { readonly portsOf: PortsOfService; readonly others: readonly unknown[] },
  ports: Pick<RouteStatusPorts, "ask" | "wallMs">,
  signal: AbortSignal,
): Promise<boolean> {
  const now = `${new Date(ports.wallMs()).toISOString().slice(0, 19)}Z`;
  const parents = parentsOf(object, version, portsOf, now, others);
  if (parents === null) return false;
  const { kind, namespace, name, resourceVersion } = version;
  const of = `/apis/${apiVersion}/namespaces/${encodeURIComponent(namespace)}/${plurals[kind]}`;
  const path = `${of}/${encodeURIComponent(name)}/status`;
  const patch = [
    { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
    { op: "add", path: "/status", value: { parents } },
  ];
  const answer = await ports.ask(path, { signal, idleMs: IDLE_MS, write: { method: "PATCH", object: patch } });
  const said = await textOf(answer);
  if (answer.status === 200) return true;
  const isOfAnother = answer.status === 404 || answer.status === 409;
  // A test that fails is "invalid" to the API server (RFC 6902, section 5).
  if (isOfAnother || (answer.status === 422 && said.includes("the server rejected our request"))) return false;
  throw new Refused(answer, `${path}: ${said.slice(0, 300)}`);
}

function portsIn(object: unknown): readonly KnownPort[] {
  const { spec } = (object ?? {}) as { readonly spec?: { readonly ports?: unknown } };
  const listed: readonly unknown[] = Array.isArray(spec?.ports) ? spec.ports : [];
  return listed.flatMap((each) => {
    const { port, name = "" } = (each ?? {}) as { readonly port?: unknown; readonly name?: unknown };
    return typeof port === "number" ? [{ port, name: String(name) }] : [];
  });
}
