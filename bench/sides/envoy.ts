// bench · Envoy: a pair of TCP proxies, or of HTTP proxies, with mTLS between them. `ENVOY_BIN` names its program, or `make interop` has installed it.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { envoyIn } from "../../test/peers/envoy/binary.ts";
import { cached } from "../../test/peers/support/projects.ts";
import { type Leaf, SERVER_NAME } from "../certificates.ts";
import { given, versionOf } from "../programs.ts";
import { folderIn, SERVER_PORT } from "../world.ts";
import { endsOf, FAR_PORT, NEAR_PORT, type OpenSide, startPair } from "./side.ts";

type Address = { readonly host: string; readonly port: number };
const socket = ({ host, port }: Address): object => ({ socket_address: { address: host, port_value: port } });
const typed = (type: string, value: object): object => ({ "@type": `type.googleapis.com/${type}`, ...value });
const tls = "envoy.extensions.transport_sockets.tls.v3";

function common(leaf: Leaf, ca: string, name: string): object {
  return {
    tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
    tls_certificates: [{ certificate_chain: { filename: leaf.certificate }, private_key: { filename: leaf.key } }],
    validation_context: {
      trusted_ca: { filename: ca },
      match_typed_subject_alt_names: [{ san_type: "DNS", matcher: { exact: name } }],
    },
  };
}

type Mode = "tcp" | "http";

const filters: Readonly<Record<Mode, object>> = {
  tcp: {
    name: "tcp",
    typed_config: typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
      ...{ stat_prefix: "bench", cluster: "next", idle_timeout: "3600s" },
    }),
  },
  http: {
    name: "http",
    typed_config: typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", {
      stat_prefix: "bench",
      route_config: {
        virtual_hosts: [
          { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "next" } }] },
        ],
      },
      http_filters: [{ name: "router", typed_config: typed("envoy.extensions.filters.http.router.v3.Router", {}) }],
    }),
  },
};

type Ends = { readonly listen: Address; readonly to: Address };
type Sockets = { readonly downstream?: object; readonly upstream?: object };

function config(mode: Mode, { listen, to }: Ends, { downstream, upstream }: Sockets): string {
  const chain = {
    filters: [filters[mode]],
    ...(downstream && { transport_socket: { name: "tls", typed_config: downstream } }),
  };
  const endpoint = { endpoint: { address: socket(to) } };
  const next = {
    ...{ name: "next", type: "STATIC", connect_timeout: "5s" },
    load_assignment: { cluster_name: "next", endpoints: [{ lb_endpoints: [endpoint] }] },
    ...(upstream && { transport_socket: { name: "tls", typed_config: upstream } }),
  };
  return JSON.stringify({
    static_resources: {
      listeners: [{ name: "in", address: socket(listen), filter_chains: [chain] }],
      clusters: [next],
    },
  });
}

/** Undefined: there is none. */
export function envoy(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  if (environment.ENVOY_BIN) return given("ENVOY_BIN");
  const installed = cached("envoy");
  return installed === undefined ? undefined : envoyIn(installed);
}

export const openEnvoy =
  ({ mode }: { readonly mode: Mode }): OpenSide =>
  async (world, route) => {
    const binary = envoy() ?? given("ENVOY_BIN");
    const ends = await endsOf(world, route);
    const { ca, client, server } = await world.certificates();
    const folder = folderIn(ends.box.cluster, `envoy-${mode}`);
    const far = { host: ends.server.ip4, port: FAR_PORT };
    const upstream = typed(`${tls}.UpstreamTlsContext`, {
      ...{ sni: SERVER_NAME, max_session_keys: 0, common_tls_context: common(client, ca, SERVER_NAME) },
    });
    const downstream = typed(`${tls}.DownstreamTlsContext`, {
      ...{ require_client_certificate: true, disable_stateless_session_resumption: true },
      common_tls_context: common(server, ca, "client.bench"),
    });
    const nearFile = path.join(folder, "near.json");
    const farFile = path.join(folder, "far.json");
    writeFileSync(nearFile, config(mode, { listen: { host: "127.0.0.1", port: NEAR_PORT }, to: far }, { upstream }));
    writeFileSync(farFile, config(mode, { listen: far, to: { host: "127.0.0.1", port: SERVER_PORT } }, { downstream }));
    const run = (file: string, id: string): string[] => [
      ...[binary, "-c", file, "--concurrency", "1", "--base-id", id, "--log-level", "error"],
    ];
    return startPair(ends, {
      name: mode === "http" ? "envoy-http" : "envoy",
      version: versionOf(binary, ["--version"]),
      near: run(nearFile, "7001"),
      far: run(farFile, "7002"),
    });
  };
