// bench · ztunnel, when ZTUNNEL_BIN names its program: dedicated mode in both pods, local file, an Istio CA of ours.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../../demo/mesh/mesh-run.ts";
import type { Pod } from "../../test/box/cluster.ts";
import { type Running, tail } from "../../test/box/process.ts";
import { signLeaf } from "../world/certificates.ts";
import { given, installed, versionOf } from "../world/programs.ts";
import { folderIn, SERVER_PORT } from "../world/world.ts";
import { endsOf, type OpenSide, withChildren } from "./side.ts";

const HBONE_PORT = 15_008;
const OUTBOUND_PORT = "15001";
const CA_PORT = 15_012;
const authority = fileURLToPath(new URL("../../test/peers/ztunnel/istio-ca.ts", import.meta.url));

export const openZtunnel: OpenSide = async (world, route) => {
  const binary = given("ZTUNNEL_BIN");
  const { box, client, server } = await endsOf(world, route);
  const folder = folderIn(box.cluster, "ztunnel");
  const file = path.join(folder, "local.json");
  writeFileSync(file, JSON.stringify({ workloads: [client, server].map(workloadOf), services: [], policies: [] }));
  // A release build panics on FAKE_CA, so that each pod has an authority on its own loopback, with one root for both.
  const { ca } = await world.certificates();
  const root = { certificate: ca, key: path.join(path.dirname(ca), "ca.key") };
  const own = signLeaf(folder, root, { name: "authority", san: "DNS:localhost,IP:127.0.0.1" });
  const files = [root.certificate, root.key, own.certificate, own.key];
  const authorities = [server, client].map((pod) =>
    pod.start([process.execPath, authority, "127.0.0.1", String(CA_PORT), ...files]),
  );
  const start = (pod: Pod): Running =>
    pod.start([binary], {
      env: {
        ...process.env,
        PROXY_MODE: "dedicated",
        PROXY_WORKLOAD_INFO: `${pod.namespace}/${pod.name}/${pod.serviceAccount}`,
        ...{
          CA_ADDRESS: `https://localhost:${CA_PORT}`,
          CA_ROOT_CA: ca,
          XDS_ADDRESS: "",
          LOCAL_XDS_PATH: file,
          PACKET_MARK: "1337",
          ENABLE_ORIG_SRC: "false",
        },
        ...{ IPV6_ENABLED: "false", ISTIO_META_DNS_CAPTURE: "false", ZTUNNEL_WORKER_THREADS: "1" },
      },
    });
  for (const program of authorities) await program.line(10_000, (line) => line === "listening");
  const programs = [start(server), start(client)];
  const redirect = ["-p", "tcp", "!", "-o", "lo", "-m", "mark", "!", "--mark", "0x539/0xfff"];
  const rule = (change: string): Promise<unknown> =>
    client.run([
      ...[installed("iptables"), "-t", "nat", change, "OUTPUT", ...redirect],
      ...["-j", "REDIRECT", "--to-ports", OUTBOUND_PORT],
    ]);
  const stop = async (): Promise<void> => {
    await rule("-D");
    await Promise.all([...programs, ...authorities].map((program) => program.stop()));
  };
  try {
    for (const pod of [client, server]) await ready(pod);
    await rule("-A");
    const target = { host: server.ip4, port: SERVER_PORT };
    await proveTunnelled(client, target, programs);
    return {
      ...{ name: "ztunnel", version: versionOf(binary, ["version"]), box, client, target, stop },
      pids: () => programs.flatMap(withChildren),
      serverPids: () => programs.slice(0, 1).flatMap(withChildren),
    };
  } catch (error) {
    const said = programs.map(({ stderr, stdout }) => tail(stderr || stdout)).join("\n");
    await stop();
    throw new Error(`ztunnel did not come up: ${error instanceof Error ? error.message : error}\n${said}`);
  }
};

const workloadOf = (pod: Pod): object => ({
  uid: `bench//Pod/${pod.namespace}/${pod.name}`,
  ...{ name: pod.name, namespace: pod.namespace, serviceAccount: pod.serviceAccount, trustDomain: "cluster.local" },
  ...{ workloadIps: [pod.ip4], protocol: "HBONE", node: pod.node, network: "", services: {} },
});

async function ready(pod: Pod): Promise<void> {
  const ask =
    'exec 3<> /dev/tcp/127.0.0.1/15021 && printf "GET /healthz/ready HTTP/1.0\\r\\n\\r\\n" >&3 && head -1 <&3';
  await until(`ztunnel in ${pod.name}`, 10_000, async () =>
    (await pod.run(["bash", "--norc", "-c", ask])).stdout.includes(" 200") ? true : undefined,
  );
}

/** Its access log must show port 15008, or the bytes went in plaintext. */
async function proveTunnelled(
  client: Pod,
  { host, port }: { readonly host: string; readonly port: number },
  programs: readonly Running[],
): Promise<void> {
  await client.run(["bash", "--norc", "-c", `exec 3<> /dev/tcp/${host}/${port}; printf x >&3; sleep 0.2`]);
  await until("ztunnel's access log with port 15008", 5_000, () =>
    programs.some(({ stdout, stderr }) => `${stdout}${stderr}`.includes(`dst.addr=${host}:${HBONE_PORT}`))
      ? true
      : undefined,
  );
}
