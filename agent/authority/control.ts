// main thread · composition root of `orlop control`: the certificate authority of a cluster, of which several replicas may run. It holds the
// root's key in memory and no other state: what it needs to know, the API server has.
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Readiness, startMetricsServer, startReadyServer } from "../admin/health.ts";
import type { Ask } from "../control/kubernetes/api-answer.ts";
import { ApiClient } from "../control/kubernetes/api-client.ts";
import { newServerCertificate } from "../identity/csr.ts";
import { Log, type Logger } from "../observe/log.ts";
import { Metrics } from "../observe/metrics.ts";
import { processMetrics } from "../observe/process-metrics.ts";
import { version } from "../process/version.ts";
import { authorityMetrics } from "./authority-metrics.ts";
import { CertificateService } from "./certificate-service.ts";
import { ClusterApi } from "./cluster.ts";
import type { ControlConfiguration } from "./configuration.ts";
import { Lease } from "./lease.ts";
import { followNodeTaints } from "./node-taints.ts";
import { RateLimit } from "./rate-limit.ts";
import type { SigningRoot } from "./root.ts";
import { RootKeeper } from "./root-keeper.ts";
import { followRouteStatuses } from "./route-statuses.ts";
import { AuthorityServer, type ServerKeys } from "./server.ts";

/** The Secret is read again so often, ms. */
const LOOK_MS = 5_000;
/** As often while something is wrong: two replicas that begin may be in each other's way. */
const RETRY_MS = 1_000;
const LOOK_DEADLINE_MS = 10_000;
const SERVER_LIFE_MS = 24 * 3_600_000;
const BACKDATE_MS = 5 * 60_000;
/** Beyond the last certificate of a root, for clocks. */
const KEEP_MORE_MS = 15 * 60_000;
/** A node that starts asks for all of its pods at once: 250 at most, twice. */
const NODE_RATE = { perSecond: 20, burst: 500 };
/** Agents of several nodes may come from one address. */
const ADDRESS_RATE = { perSecond: 100, burst: 2_000 };

/** Runs until SIGTERM or SIGINT. Resolves to the exit status. */
export async function runControl({ spec, api: apiServer }: ControlConfiguration): Promise<number> {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort());
  const log = new Log({ level: spec.log.level, write: (line) => process.stdout.write(line), now: Date.now }).room(
    "identity",
  );
  const readiness = new Readiness(["root", "server"]);
  await using open = new AsyncDisposableStack();
  const client = open.adopt(new ApiClient(apiServer), (used) => used.close());
  const api = new ClusterApi((path, options) => client.ask(path, options));
  const keeper = new RootKeeper(
    {
      ...{ namespace: spec.namespace, secret: spec.rootSecret, configMap: spec.rootConfigMap },
      ...{ trustDomain: spec.trustDomain, spreadMs: spec.rootSpreadSeconds * 1_000 },
      keepMs: spec.leafTtlSeconds * 1_000 + KEEP_MORE_MS,
    },
    { api, wallMs: Date.now },
  );
  const service = new CertificateService(spec, {
    ...{ api, signing: () => keeper.signing, perNode: new RateLimit(NODE_RATE) },
    ...{ wallMs: Date.now, monotonicMs: () => performance.now() },
  });
  const ready = await startReadyServer(spec.ready, readiness, (message, fields) => log.warn(message, { ...fields }));
  open.defer(() => ready.close());
  let listening: AuthorityServer | undefined;
  const metrics = new Metrics([
    () => authorityMetrics(listening?.answered ?? new Map(), signingOf(keeper)?.endsMs ?? null),
    () => processMetrics(version, "orlop-control"),
  ]);
  const page = { contentType: metrics.contentType, text: () => metrics.text() };
  const shown = await startMetricsServer(spec.metrics, page, (message, fields) => log.warn(message, { ...fields }));
  open.defer(() => shown.close());

  const door = new Door(spec, {
    open: async (keys) => {
      const parts = { service, log, perAddress: new RateLimit(ADDRESS_RATE), monotonicMs: () => performance.now() };
      const server = new AuthorityServer(parts, keys);
      const port = await server.listen(spec.listen.host, spec.listen.port);
      open.defer(() => server.close());
      listening = server;
      readiness.done("server");
      log.info("serving", { port, names: serverNamesOf(spec).join(" ") });
      return server;
    },
  });
  if (spec.untaintNodes) {
    const ports = { nowMs: () => performance.now(), random: Math.random, log };
    const following = followNodeTaints(
      spec.namespace,
      {
        ...{ ...ports, ask: (path, options) => client.ask(path, options) },
        sleep: (ms, signal) => sleep(ms, undefined, { signal }),
      },
      stop.signal,
    );
    open.defer(() => following);
  }
  if (spec.routeStatus) {
    const following = writeRouteStatuses(
      spec.namespace,
      (path, options) => client.ask(path, options),
      log,
      stop.signal,
    );
    open.defer(() => following);
  }
  let trouble = "";
  while (!stop.signal.aborted) {
    try {
      await keeper.look(AbortSignal.any([stop.signal, AbortSignal.timeout(LOOK_DEADLINE_MS)]));
      await door.keep(keeper.signing);
      if (trouble !== "") log.info("the root is in order again");
      trouble = "";
      readiness.done("root");
    } catch (error) {
      if (stop.signal.aborted) break;
      const why = error instanceof Error ? error.message : String(error);
      if (why !== trouble) log.error("the root is not in order", { error });
      trouble = why;
      if (signingOf(keeper) === undefined) readiness.undone("root");
    }
    await sleep(trouble === "" ? LOOK_MS : RETRY_MS, undefined, { signal: stop.signal }).catch(() => {});
  }
  log.info("stopping");
  return 0;
}

/** Resolves when the signal is aborted. */
async function writeRouteStatuses(namespace: string, ask: Ask, log: Logger, signal: AbortSignal): Promise<void> {
  const clocks = { nowMs: () => performance.now(), wallMs: Date.now };
  const ports = { ...clocks, ask, sleep: (ms: number, until: AbortSignal) => sleep(ms, undefined, { signal: until }) };
  const lease = new Lease(
    { namespace, name: "orlop-control-status", holder: `${hostname()}_${randomUUID()}` },
    {
      ...ports,
      noted: (isHeld, why) =>
        why === ""
          ? log.info(isHeld ? "writes statuses of routes" : "another replica writes statuses of routes", {})
          : log.warn("nobody knows who writes statuses of routes", { why }),
    },
  );
  const writing = { ...ports, random: Math.random, log, mayWrite: () => lease.isHeld };
  await Promise.all([lease.keep(signal), followRouteStatuses(writing, signal)]);
}

/** undefined: nothing signs. */
function signingOf(keeper: RootKeeper): SigningRoot | undefined {
  try {
    return keeper.signing;
  } catch {
    return undefined;
  }
}

type Names = Pick<ControlConfiguration["spec"], "serverNames" | "namespace" | "clusterDomain">;

function serverNamesOf({ serverNames, namespace, clusterDomain }: Names): readonly string[] {
  const service = `orlop-control.${namespace}.svc`;
  return serverNames.length > 0 ? serverNames : [service, `${service}.${clusterDomain}`];
}

type Opens = { readonly open: (keys: ServerKeys) => Promise<Pick<AuthorityServer, "renew">> };

/** The server's own certificate: it comes from the root that signs, and is made again at half of its life and with a new root. */
class Door {
  readonly #names: readonly string[];
  readonly #opens: Opens;
  #server: Pick<AuthorityServer, "renew"> | undefined;
  #root: SigningRoot | undefined;
  #renewAtMs = 0;

  constructor(names: Names, opens: Opens) {
    this.#names = serverNamesOf(names);
    this.#opens = opens;
  }

  async keep(root: SigningRoot): Promise<void> {
    const nowMs = Date.now();
    if (this.#root === root && nowMs < this.#renewAtMs) return;
    const endsMs = Math.min(nowMs + SERVER_LIFE_MS, root.endsMs);
    const life = { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(endsMs) };
    const { certificatePem, keyPem } = await newServerCertificate(root.issuer, this.#names, life);
    const keys = { cert: `${certificatePem}\n${root.intermediatesPem}`, key: keyPem };
    try {
      if (this.#server === undefined) this.#server = await this.#opens.open(keys);
      else this.#server.renew(keys);
    } finally {
      keyPem.fill(0);
    }
    this.#root = root;
    this.#renewAtMs = nowMs + (endsMs - nowMs) / 2;
  }
}
