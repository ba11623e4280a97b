// bench · what a TLS record costs that is sealed and opened again, by the clock, on the OpenSSL of Node: with our record layer and with
// OpenSSL's, without a socket.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { version } from "../../agent/process/version.ts";
import type { Figures } from "../figures/pairs.ts";
import { type Scenario, unknownPeer } from "./scenario.ts";

const OPENSSL = "openssl-records";
const folder = fileURLToPath(new URL("../micro/native", import.meta.url));
const addon = fileURLToPath(new URL("../../build/instructions/records.node", import.meta.url));
const RUN = "process.dlopen({ exports: {} }, process.argv[1])";

/** Nanoseconds of one record, by size, the median of many short measurements. `suffix` chooses the layer (bench/micro/native/records.cc). */
function measured(suffix: "" | "-openssl"): Figures {
  execFileSync("make", ["-s", "-C", folder, addon]);
  const lines = execFileSync(process.execPath, ["-e", RUN, addon], { encoding: "utf8" }).trim().split("\n");
  const timesOf = (name: string): readonly number[] =>
    lines
      .map((line) => line.split(" "))
      .filter(([, measurement]) => measurement === `${name}${suffix}`)
      .map(([ns, , count]) => Number(ns) / Number(count))
      .toSorted((one, other) => one - other);
  const median = (name: string): number => {
    const times = timesOf(name);
    const middle = times[times.length >> 1];
    if (middle === undefined) throw new Error(`no times of ${name}`);
    return Math.round(middle);
  };
  return { ns1k: median("record-1k"), ns16k: median("record-16k") };
}

const open: Scenario["open"] = async (_world, peer) => {
  if (peer !== OPENSSL) throw unknownPeer(peer, [OPENSSL]);
  return {
    ours: { name: "orlop", measure: async () => measured("") },
    peer: { name: OPENSSL, measure: async () => measured("-openssl") },
    versions: { orlop: `Orlop ${version}, Node ${process.version}`, [OPENSSL]: `OpenSSL ${process.versions.openssl}` },
    close: async () => {},
  };
};

const row = { unit: "ns", better: "less", defaultPeer: OPENSSL, targets: {}, series: "records", open } as const;

export const recordScenarios: readonly Scenario[] = [
  { name: "record-1k", figure: "one TLS record of 1 KB sealed and opened", key: "ns1k", limits: { ns1k: 500 }, ...row },
  { name: "record-16k", figure: "one TLS record of 16 KB sealed and opened", key: "ns16k", ...row },
];
