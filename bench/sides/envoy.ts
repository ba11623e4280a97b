// bench · Envoy: a pair of TCP proxies, or of proxies that read HTTP/1.1 or calls of gRPC, with mTLS between them. `ENVOY_BIN` names its program, or `make interop` has installed it.
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { Pod } from "../../test/box/cluster.ts";
import { envoyIn } from "../../test/peers/envoy/binary.ts";
import { cached } from "../../test/peers/support/projects.ts";
import { type Leaf, SERVER_NAME } from "../world/certificates.ts";
import { given, versionOf } from "../world/programs.ts";
import { type Box, CALLS_PORT, folderIn, SERVER_PORT, type World } from "../world/world.ts";
import { type CallsOf, startCallee } from "./callee.ts";
import { endsOf, FAR_PORT, NEAR_PORT, type OpenSide, type Side, startPair } from "./side.ts";

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

type Mode = "tcp" | "http" | "calls";
const names: Readonly<Record<Mode, string>> = { tcp: "envoy", http: "envoy-http", calls: "envoy-grpc" };

const filters: Readonly<Record<"tcp" | "http", object>> = {
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

type Ends = { readonly box: Box; readonly client: Pod; readonly server: Pod };
type Hop = { readonly listen: Address; readonly to: Address };
type Sockets = { readonly downstream?: object; readonly upstream?: object };

/** To the next hop as calls need it: HTTP/2. */
const http2 = {
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      { explicit_http_config: { http2_protocol_options: {} } },
    ),
  },
};

function config(mode: Mode, { listen, to }: Hop, { downstream, upstream }: Sockets): string {
  const chain = {
    filters: [filters[mode === "tcp" ? "tcp" : "http"]],
    ...(downstream && { transport_socket: { name: "tls", typed_config: downstream } }),
  };
  const endpoint = { endpoint: { address: socket(to) } };
  const next = {
    ...{ name: "next", type: "STATIC", connect_timeout: "5s" },
    load_assignment: { cluster_name: "next", endpoints: [{ lb_endpoints: [endpoint] }] },
    ...(mode === "calls" && http2),
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

async function openPair(mode: Mode, world: World, ends: Ends): Promise<Side> {
  const binary = envoy() ?? given("ENVOY_BIN");
  const { ca, client, server } = await world.certificates();
  const folder = folderIn(ends.box.cluster, names[mode]);
  const far = { host: ends.server.ip4, port: FAR_PORT };
  const app = { host: "127.0.0.1", port: mode === "calls" ? CALLS_PORT : SERVER_PORT };
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
  writeFileSync(farFile, config(mode, { listen: far, to: app }, { downstream }));
  const run = (file: string, id: string): string[] => [
    ...[binary, "-c", file, "--concurrency", "1", "--base-id", id, "--log-level", "error"],
  ];
  return startPair(ends, {
    name: names[mode],
    version: versionOf(binary, ["--version"]),
    near: run(nearFile, "7001"),
    far: run(farFile, "7002"),
  });
}

export const openEnvoy =
  ({ mode }: { readonly mode: "tcp" | "http" }): OpenSide =>
  async (world, route) =>
    openPair(mode, world, await endsOf(world, route));

export const openEnvoyCalls =
  (calls: CallsOf): OpenSide =>
  async (world) => {
    const box = await world.plain();
    const callee = await startCallee(box.calledServer, folderIn(box.cluster, "calls"), calls);
    try {
      const pair = await openPair("calls", world, { box, client: box.client, server: box.calledServer });
      const stop = async (): Promise<void> => {
        await pair.stop();
        await callee.stop();
      };
      return { ...pair, stop };
    } catch (error) {
      await callee.stop();
      throw error;
    }
  };
