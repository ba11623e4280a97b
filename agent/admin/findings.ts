// main thread · what the agent itself can say in `orlop check`: one small check each, over what admin may see anyway. Pure but for `source`.

import type { Problem } from "../control/kinds/value.ts";
import { type LeftOutPod, leftOutReasons, leftOutWords } from "../control/left-out.ts";
import type { KindStatus } from "../control/source.ts";
import type { NodeAccessView } from "../keeper/protocol.ts";
import { fullName } from "../mesh/full-name.ts";
import { positionText } from "../mesh/source-ref.ts";
import type { ConfigErrorView, Finding } from "./api.ts";
import { limitFindings } from "./limit-views.ts";
import { routeFindings } from "./route-findings.ts";
import type { AdminSource } from "./source.ts";
import { trafficFindings } from "./traffic-findings.ts";

const ok = (code: string, what: string): Finding => ({ code, status: "ok", what, why: "", fix: "" });
const info = (code: string, what: string, why: string, fix: string): Finding => ({
  code,
  status: "info",
  what,
  why,
  fix,
});
const warn = (code: string, what: string, why: string, fix: string): Finding => ({
  code,
  status: "warn",
  what,
  why,
  fix,
});
const fail = (code: string, what: string, why: string, fix: string): Finding => ({
  code,
  status: "fail",
  what,
  why,
  fix,
});

/** A heartbeat this old is half way to what the kernel takes for death (default 2 s). */
const lateHeartbeatMs = 1_000;
/** Beyond this share a map needs attention before it refuses. */
const fullMap = 0.85;
/** Less than this share of its life left, and still not renewed. */
const lateRenewal = 0.25;

/** What `orlop check` says of a running agent. Of the keeper it asks how full its maps are; without a keeper there are none. */
export async function findingsOf(source: AdminSource): Promise<readonly Finding[]> {
  const { maps } = await source.bpf();
  return [
    ...pods(source),
    ...leftOut(source),
    ...configuration(source),
    ...addressConflicts(source),
    ...requestRules(source),
    ...routeFindings(source.mesh),
    ...limitFindings(source),
    ...trafficFindings(source.mesh),
    ...certificates(source),
    roots(source),
    keeper(source),
    nodeAccess(await source.nodeAccess()),
    heartbeat(source),
    mapFill(maps),
    lostEvents(source),
  ];
}

function pods(source: AdminSource): readonly Finding[] {
  const all = source.pods().filter(({ state }) => state !== "not-enrolled" && state !== "leaving");
  const names = new Map([...source.mesh.workloads()].map((workload) => [workload.uid, fullName(workload)]));
  const waiting = all.filter(({ state, note }) => state !== "captured" || note !== "");
  if (waiting.length === 0) return [ok("ORL2001", `${all.length} of ${all.length} pods captured`)];
  return waiting.map(({ workloadUid, state, note }) => {
    const pod = `pod ${names.get(workloadUid) ?? workloadUid}`;
    const what =
      state === "captured" ? `${pod} is captured, but not as the mesh has it` : `${pod} is not captured (${state})`;
    const fix = "start the pod, or correct metadata.uid and spec.addresses; the keeper's log says what it looked for";
    return warn("ORL2001", what, note || "the keeper has not answered yet", fix);
  });
}

/** So many pods of a reason are findings of their own; the rest is counted. */
const leftOutNamed = 10;

function leftOut(source: AdminSource): readonly Finding[] {
  const all = source.configuration().leftOut;
  return leftOutReasons.flatMap((reason) => {
    const pods = all.filter((pod) => pod.reason === reason);
    const { why, fix } = leftOutWords({ reason });
    // A daemon on the node's network in a namespace of the mesh is common, and easily seen.
    const report = reason === "host-network" ? info : warn;
    const named = pods
      .slice(0, leftOutNamed)
      .map((pod: LeftOutPod) =>
        report("ORL2003", `pod ${fullName(pod.workload)} is left out of the mesh: ${pod.because}`, why, fix),
      );
    const rest = pods.length - named.length;
    return rest === 0 ? named : [...named, report("ORL2003", `${rest} more pods are left out: ${reason}`, why, fix)];
  });
}

function configuration(source: AdminSource): readonly Finding[] {
  const { state, problems, findings, from, fromLastGood, kinds } = source.configuration();
  const notHonoured = findings
    .map(problemView)
    .map(({ code, at, what, why, fix }) => warn(code, `${at}: ${what}`, why, fix));
  const unread = kindsAway(kinds, from);
  if (state === "waiting" && problems.length === 0) {
    const why = "nothing is captured until it was read once";
    const fix = kinds.length > 0 ? "see that the API server answers" : `see that ${from} exists`;
    return [warn("ORL4001", `no configuration from ${from} yet`, why, fix), ...unread];
  }
  if (state === "stale" && unread.length === 0) {
    const what = `what was kept of ${from} at the last start is what runs`;
    const why = "nothing newer is in force before every kind was read";
    return [warn("ORL4001", what, why, "wait; see orlop status if it stays so"), ...notHonoured];
  }
  if (problems.length === 0 && unread.length > 0) return [...unread, ...notHonoured];
  if (problems.length === 0) return [ok("ORL4001", `configuration ${from} is what runs`), ...notHonoured];
  const running = fromLastGood ? "; the last good copy runs" : "";
  const report = state === "held" ? warn : fail;
  const wrong = problems
    .map(problemView)
    .map(({ code, at, what, why, fix }) => report(code, `${at}: ${what}${running}`, why, fix));
  return [...wrong, ...unread, ...notHonoured];
}

/** Kinds that cannot be read from the API server now. */
function kindsAway(kinds: readonly KindStatus[], from: string): readonly Finding[] {
  const fix = "see that the API server answers and that the agent's account may get, list and watch this kind";
  return kinds
    .filter(({ awaySince }) => awaySince !== "")
    .map(({ kind, awaySince, why }) => {
      const what = `${kind} cannot be read from ${from} since ${awaySince}; what was read before runs`;
      return fail("ORL4201", what, why, fix);
    });
}

/** So many conflicts are findings of their own; the rest is counted. */
const conflictsNamed = 10;

function addressConflicts({ mesh }: AdminSource): readonly Finding[] {
  const all = [...mesh.addressConflicts()];
  const why = "nobody can tell who would answer there, so connections to it are refused (address-conflict)";
  const fix = "give each workload its own addresses, and delete those that are gone";
  const named = all
    .slice(0, conflictsNamed)
    .map(({ address, claimants }) =>
      warn("ORL4105", `${address} is claimed by ${claimants.map(fullName).toSorted().join(" and ")}`, why, fix),
    );
  const rest = all.length - named.length;
  return rest === 0 ? named : [...named, warn("ORL4105", `${rest} more addresses have several claimants`, why, fix)];
}

function requestRules(source: AdminSource): readonly Finding[] {
  return [
    ...source.requestWarnings().map(({ code, what, why, fix }) => warn(code, what, why, fix)),
    ...source.requestChanges().map(({ code, what, why, fix }) => info(code, what, why, fix)),
  ];
}

export function problemView({ code, from, what, why, fix }: Problem): ConfigErrorView {
  return { code, at: positionText(from), what, why, fix };
}

function certificates(source: AdminSource): readonly Finding[] {
  const now = source.now();
  const all = source.certs();
  const bad = all.flatMap((cert): Finding[] => {
    const fix = "see the agent's log for the authority's answer: orlop log set identity=debug --for 10m";
    if (cert.state === "failed" || cert.state === "expired") {
      const why = cert.message || "its pods can neither call nor be called through the mesh";
      return [fail("ORL5001", `certificate of ${cert.identity} is ${cert.state}`, why, fix)];
    }
    if (cert.state === "pending") {
      return [
        warn("ORL5001", `certificate of ${cert.identity} is pending`, cert.message || "its connections wait", fix),
      ];
    }
    const life = (cert.notAfterMs ?? 0) - (cert.notBeforeMs ?? 0);
    // Short lives are backdated by minutes, so the share alone would call a certificate late that is not due yet.
    const due = cert.rotatesAtMs === null || cert.rotatesAtMs <= now;
    if (cert.notAfterMs === null || !due || cert.notAfterMs - now > life * lateRenewal) return [];
    const why = cert.message || "renewal is due at half of its life";
    return [warn("ORL5001", `certificate of ${cert.identity} is close to its end and not renewed`, why, fix)];
  });
  return bad.length > 0 ? bad : [ok("ORL5001", `${all.length} certificates ready`)];
}

function roots(source: AdminSource): Finding {
  const why = source.rootsTrouble();
  if (why === "") return ok("ORL5002", "trusted roots read");
  const fix = "mend the root file; whatever is missing from it stays trusted until then";
  return fail("ORL5002", "the trusted roots cannot be read", why, fix);
}

function keeper(source: AdminSource): Finding {
  const { connected, message } = source.keeper();
  if (connected) return ok("ORL6101", "keeper connected");
  const why = message || "pods that are captured go on; none can be enrolled or released, and socket pools run dry";
  return fail("ORL6101", "no connection to the keeper", why, "start it: orlop run, or the keeper's DaemonSet");
}

/** Programs that have the API server in them. */
const withApiServer = /^(k3s|k3s-server|k0s|kubelite)$/;

function nodeAccess({ mode, programs, problem }: NodeAccessView): Finding {
  const names = programs.map(({ name, pid }) => (pid === null ? name : `${name} (pid ${pid})`)).join(", ");
  const besides = programs.some(({ name }) => withApiServer.test(name))
    ? ", and the API server that is part of it"
    : "";
  const letIn =
    names === "" ? "nobody of the node is let in to pods" : `let in to pods of this node: ${names}${besides}`;
  const what = `nodeAccess ${mode}: ${letIn}`;
  if (problem === "") return ok("ORL2002", what);
  return fail("ORL2002", what, problem, "name the cgroup: spec.kubeletCgroup or spec.nodeAccessFrom in the NodeConfig");
}

function heartbeat(source: AdminSource): Finding {
  const ageMs = source.heartbeatAgeMs();
  if (ageMs === null) return warn("ORL6102", "no heartbeat yet", "the keeper has not lent the map", "see ORL6101");
  if (ageMs < lateHeartbeatMs) return ok("ORL6102", "heartbeat in time");
  const why = "past the limit the kernel takes the agent for dead: STRICT refuses, PERMISSIVE goes direct";
  return fail(
    "ORL6102",
    `heartbeat is ${Math.round(ageMs)} ms old`,
    why,
    "look for what keeps the loop busy: orlop_event_loop_delay_seconds",
  );
}

function mapFill(
  maps: readonly { readonly name: string; readonly entries: number; readonly maxEntries: number }[],
): Finding {
  const full = maps.filter(({ entries, maxEntries }) => maxEntries > 0 && entries / maxEntries > fullMap);
  if (full.length === 0) return ok("ORL6103", `${maps.length} maps have room`);
  const what = full.map(({ name, entries, maxEntries }) => `${name} ${entries}/${maxEntries}`).join(", ");
  return warn(
    "ORL6103",
    `maps nearly full: ${what}`,
    "a full map refuses new connections; nothing is evicted",
    "look for a connection leak: orlop get connections",
  );
}

function lostEvents(source: AdminSource): Finding {
  const lost = source.counters()?.event_dropped ?? 0;
  if (lost === 0) return ok("ORL6104", "no kernel event lost");
  const why = "the ring buffer was full; connections were not affected, their kernel-side records were";
  return warn("ORL6104", `${lost} kernel events lost`, why, "watch orlop_bpf_ring_dropped_total; it should not grow");
}
