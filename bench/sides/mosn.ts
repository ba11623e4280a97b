// bench · MOSN, when MOSN_BIN names its program: a pair of TCP proxies with mTLS between them.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type Leaf, SERVER_NAME } from "../world/certificates.ts";
import { given, versionOf } from "../world/programs.ts";
import { folderIn, SERVER_PORT } from "../world/world.ts";
import { endsOf, FAR_PORT, NEAR_PORT, type OpenSide, startPair } from "./side.ts";

const tls = ({ certificate, key }: Leaf, ca: string): object => ({
  ...{ status: true, ca_cert: ca, cert_chain: certificate, private_key: key, verify_client: true },
  ...{ require_client_cert: true, min_version: "tlsv1_3", server_name: SERVER_NAME },
});

function config(
  folder: string,
  listen: string,
  to: string,
  side: { readonly in?: object; readonly out?: object },
): string {
  const proxy = { type: "tcp_proxy", config: { cluster: "next" } };
  const listener = {
    ...{ name: "in", address: listen, bind_port: true },
    filter_chains: [{ filters: [proxy], ...(side.in && { tls_context: side.in }) }],
  };
  const next = {
    ...{ name: "next", type: "SIMPLE", lb_type: "LB_RANDOM", hosts: [{ address: to }] },
    ...(side.out && { tls_context: side.out }),
  };
  const server = { default_log_path: path.join(folder, "log"), default_log_level: "ERROR", processor: 1 };
  return JSON.stringify({
    servers: [{ ...server, listeners: [listener] }],
    cluster_manager: { clusters: [next] },
  });
}

export const openMosn: OpenSide = async (world, route) => {
  const binary = given("MOSN_BIN");
  const ends = await endsOf(world, route);
  const { ca, client, server } = await world.certificates();
  const folder = folderIn(ends.box.cluster, "mosn");
  const far = `${ends.server.ip4}:${FAR_PORT}`;
  const nearFile = path.join(folder, "near.json");
  const farFile = path.join(folder, "far.json");
  writeFileSync(nearFile, config(folder, `127.0.0.1:${NEAR_PORT}`, far, { out: tls(client, ca) }));
  writeFileSync(farFile, config(folder, far, `127.0.0.1:${SERVER_PORT}`, { in: tls(server, ca) }));
  return startPair(ends, {
    name: "mosn",
    version: versionOf(binary, ["--version"]),
    near: [binary, "start", "-c", nearFile],
    far: [binary, "start", "-c", farFile],
  });
};
