// bench · the rows of a whole run, in the order of the scenarios: each against its own peer, then against further peers.
import { scenarios } from "./scenarios/all.ts";
import type { Scenario } from "./scenarios/scenario.ts";
import { envoy } from "./sides/envoy.ts";

export type PlannedRow = { readonly scenario: Scenario; readonly peer: string };

/** Beside the peer that each scenario has of its own. */
const further: readonly (readonly [scenario: string, ...peers: string[]])[] = [
  ["bulk-1", "haproxy-tuned", "nginx", "nginx-tuned", "nghttpx", "relay", "direct"],
  ["cpu-per-byte", "haproxy-tuned", "nginx", "nginx-tuned", "relay"],
  ["rr-64", "nginx", "nghttpx", "relay", "direct"],
  ["cpu-per-request", "nginx", "nghttpx"],
  // Not nghttpx 1.52: under churn it closes one CONNECT in a hundred, and a run with a failed connection is no figure.
  ["churn-warm", "nginx", "direct"],
  ["l7-authz", "nginx-http"],
  ["l7-authz-rate", "nginx-http"],
  ["l7-route", "orlop-l4", "nginx-http"],
];
type Environment = NodeJS.ProcessEnv;
/** Peers of which no distribution has a package: whether this machine has them. They join these rows. */
const elsewhere: readonly (readonly [peer: string, has: (environment: Environment) => boolean])[] = [
  ["ztunnel", ({ ZTUNNEL_BIN }) => Boolean(ZTUNNEL_BIN)],
  ["linkerd", ({ LINKERD_BIN }) => Boolean(LINKERD_BIN)],
  ["mosn", ({ MOSN_BIN }) => Boolean(MOSN_BIN)],
  ["envoy", (environment) => envoy(environment) !== undefined],
];
const againstThem: readonly string[] = ["bulk-1", "rr-64", "churn-warm", "cpu-per-request"];
/** Of them, those that read HTTP, by the name of the side that does. */
const againstHttp: readonly string[] = ["l7-authz", "l7-authz-rate", "l7-route"];
const readers: Readonly<Record<string, string>> = { envoy: "envoy-http" };
const againstCalls: readonly string[] = ["l7-grpc-unary", "l7-h2-100-streams", "l7-grpc-stream"];
const callReaders: Readonly<Record<string, string>> = { envoy: "envoy-grpc" };

export function plan(environment: Environment = process.env): readonly PlannedRow[] {
  const extra = elsewhere.filter(([, has]) => has(environment)).map(([peer]) => peer);
  const extraHttp = extra.flatMap((peer) => readers[peer] ?? []);
  const extraCalls = extra.flatMap((peer) => callReaders[peer] ?? []);
  const extraOf = (name: string): readonly string[] => {
    if (againstHttp.includes(name)) return extraHttp;
    if (againstCalls.includes(name)) return extraCalls;
    return againstThem.includes(name) ? extra : [];
  };
  return scenarios.flatMap((scenario) => {
    const [, ...more] = further.find(([name]) => name === scenario.name) ?? [];
    const peers = [scenario.defaultPeer, ...more, ...extraOf(scenario.name)];
    return peers.map((peer) => ({ scenario, peer }));
  });
}
