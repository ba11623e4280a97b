// bench · the rows of a whole run, in order: what issue 3 sets a target for comes first.
import { scenarios } from "./scenarios/all.ts";
import type { Scenario } from "./scenarios/scenario.ts";

export type PlannedRow = { readonly scenario: Scenario; readonly peer: string };

/** Beside the peer that each scenario has of its own. */
const further: readonly (readonly [scenario: string, ...peers: string[]])[] = [
  ["bulk-1", "haproxy-tuned", "nginx", "nginx-tuned", "nghttpx", "relay", "direct"],
  ["cpu-per-byte", "haproxy-tuned", "nginx", "nginx-tuned", "relay"],
  ["rr-64", "nginx", "nghttpx", "relay", "direct"],
  ["cpu-per-request", "nginx", "nghttpx"],
  // Not nghttpx 1.52: under churn it closes one CONNECT in a hundred, and a run with a failed connection is no figure.
  ["churn-warm", "nginx", "direct"],
];
/** Peers whose binary is given join where the issue asks for them. */
const given = [
  ["ztunnel", "ZTUNNEL_BIN"],
  ["linkerd", "LINKERD_BIN"],
  ["mosn", "MOSN_BIN"],
  ["envoy", "ENVOY_BIN"],
] as const;
const againstGiven: readonly string[] = ["bulk-1", "rr-64", "churn-warm", "cpu-per-request"];

export function plan(environment: NodeJS.ProcessEnv = process.env): readonly PlannedRow[] {
  const extra = given.filter(([, variable]) => environment[variable]).map(([peer]) => peer);
  return scenarios.flatMap((scenario) => {
    const [, ...more] = further.find(([name]) => name === scenario.name) ?? [];
    const peers = [scenario.defaultPeer, ...more, ...(againstGiven.includes(scenario.name) ? extra : [])];
    return peers.map((peer) => ({ scenario, peer }));
  });
}
