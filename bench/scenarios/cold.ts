// bench · a connection without a tunnel: what a whole mTLS handshake costs the side that serves it.
import { fileURLToPath } from "node:url";
import { tail } from "../../test/box/process.ts";
import { type MeasureSide, type Scenario, sideBySide } from "./scenario.ts";

/** As in churn: what decides about a peer is compiled while it runs. */
const FIRST_WARMUP_SECONDS = 2;

const client = fileURLToPath(new URL("../load/handshakes.ts", import.meta.url));

/** From a host outside the mesh: nothing on the way but the wires. */
const handshakes: MeasureSide = (side, { windowSeconds, warmupSeconds }) => {
  const { handshake, box } = side;
  if (handshake === undefined) throw new Error(`${side.name} serves no mTLS with HTTP/2 that could be asked alone`);
  const { host, port, ca, certificate, key, serverName } = handshake;
  let first = true;
  return async () => {
    const warmup = first ? FIRST_WARMUP_SECONDS : warmupSeconds;
    first = false;
    const argv = [host, port, ca, certificate, key, serverName, windowSeconds, warmup, side.serverPids().join(",")];
    const { outside } = box.cluster;
    const { status, stdout, stderr } = await outside.run([process.execPath, client, ...argv.map(String)], 30_000);
    if (status !== 0) throw new Error(`handshakes with ${side.name} failed: ${tail(stderr)}`);
    const { handshakes: count, cpuNs, ms } = JSON.parse(stdout) as { handshakes: number; cpuNs: number; ms: number };
    if (count === 0) throw new Error("no handshake in the measured window");
    return { cpuUsPerHandshake: cpuNs / 1000 / count, rate: (count / ms) * 1000 };
  };
};

export const coldScenarios: readonly Scenario[] = [
  {
    name: "churn-cold",
    figure: "CPU of the serving side per new mTLS connection without a tunnel (whole handshake, X25519, P-256)",
    ...{ unit: "µs", better: "less", key: "cpuUsPerHandshake" },
    defaultPeer: "haproxy",
    targets: { haproxy: { atMost: 0.6 } },
    series: "cold",
    open: sideBySide("cross-node", handshakes),
  },
];
