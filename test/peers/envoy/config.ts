// test peers · Envoy's configuration as an HBONE origin and as an HBONE terminator. Pure.
import type { PeerFiles } from "../support/world.ts";

type Address = { readonly host: string; readonly port: number };
export type Identity = PeerFiles & { readonly roots: string };

const typed = (type: string, value: object): object => ({ "@type": `type.googleapis.com/${type}`, ...value });
const filters = "envoy.extensions.filters";
const socket = ({ host, port }: Address): object => ({ socket_address: { address: host, port_value: port } });

function commonTls({ certificate, key, roots }: Identity, san: string | undefined): object {
  const names = [{ san_type: "URI", matcher: { exact: san } }];
  return {
    tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
    alpn_protocols: ["h2"],
    tls_certificates: [{ certificate_chain: { filename: certificate }, private_key: { filename: key } }],
    validation_context: {
      trusted_ca: { filename: roots },
      ...(san === undefined ? {} : { match_typed_subject_alt_names: names }),
    },
  };
}

function cluster(name: string, to: Address, more: object = {}): object {
  const endpoint = { endpoint: { address: socket(to) } };
  return {
    ...{ name, type: "STATIC", connect_timeout: "5s" },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [endpoint] }] },
    ...more,
  };
}

export type Origin = {
  /** On 127.0.0.1: what connects here is tunnelled. */
  readonly listen: number;
  /** The HBONE server. */
  readonly tunnel: Address;
  readonly authority: string;
  readonly identity: Identity;
  /** The only URI SAN it takes; undefined: it looks at none. */
  readonly expect: string | undefined;
};

export type Terminator = {
  readonly listen: Address;
  readonly identity: Identity;
  /** CONNECTs to these ports lead to 127.0.0.1. */
  readonly ports: readonly number[];
  readonly accessLog: string;
  readonly maxStreams?: number;
  /** GOAWAY after so many requests, or after so long ("1s"). */
  readonly maxRequests?: number;
  readonly maxAge?: string;
};

/** One Envoy with any number of both. */
export function envoyConfig(origins: readonly Origin[], terminators: readonly Terminator[]): string {
  const ports = [...new Set(terminators.flatMap((terminator) => terminator.ports))];
  return JSON.stringify({
    static_resources: {
      listeners: [...origins.map(originListener), ...terminators.map(terminatorListener)],
      clusters: [
        ...origins.map(originCluster),
        ...ports.map((port) => cluster(`app-${port}`, { host: "127.0.0.1", port })),
      ],
    },
  });
}

function originListener({ listen, authority }: Origin): object {
  const proxy = typed(`${filters}.network.tcp_proxy.v3.TcpProxy`, {
    ...{ stat_prefix: "origin", cluster: `origin-${listen}`, tunneling_config: { hostname: authority } },
  });
  return {
    name: `origin-${listen}`,
    address: socket({ host: "127.0.0.1", port: listen }),
    filter_chains: [{ filters: [{ name: "tcp", typed_config: proxy }] }],
  };
}

function originCluster({ listen, tunnel, identity, expect }: Origin): object {
  const upstreamTls = typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", {
    common_tls_context: commonTls(identity, expect),
  });
  const protocol = typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", {
    explicit_http_config: { http2_protocol_options: { allow_connect: true } },
  });
  return cluster(`origin-${listen}`, tunnel, {
    typed_extension_protocol_options: { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol },
    transport_socket: { name: "tls", typed_config: upstreamTls },
  });
}

/** What a line of the terminator's access log holds, in this order, separated by spaces. */
const LOG_FORMAT =
  "%REQ(:METHOD)% %REQ(:AUTHORITY)% %RESPONSE_CODE% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_TLS_VERSION% %REQ(FORWARDED)%\n";

function terminatorListener(terminator: Terminator): object {
  const { listen, identity, ports, accessLog, maxStreams, maxRequests, maxAge } = terminator;
  const downstreamTls = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", {
    ...{ require_client_certificate: true, common_tls_context: commonTls(identity, undefined) },
  });
  const routes = ports.map((port) => ({
    match: { connect_matcher: {}, headers: [{ name: ":authority", string_match: { suffix: `:${port}` } }] },
    route: {
      ...{ cluster: `app-${port}`, timeout: "0s" },
      upgrade_configs: [{ upgrade_type: "CONNECT", connect_config: {} }],
    },
  }));
  const log = typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", {
    ...{ path: accessLog, log_format: { text_format_source: { inline_string: LOG_FORMAT } } },
  });
  const manager = typed(`${filters}.network.http_connection_manager.v3.HttpConnectionManager`, {
    ...{ codec_type: "HTTP2", stat_prefix: "terminator", upgrade_configs: [{ upgrade_type: "CONNECT" }] },
    http2_protocol_options: {
      allow_connect: true,
      ...(maxStreams === undefined ? {} : { max_concurrent_streams: maxStreams }),
    },
    common_http_protocol_options: {
      ...(maxRequests === undefined ? {} : { max_requests_per_connection: maxRequests }),
      ...(maxAge === undefined ? {} : { max_connection_duration: maxAge }),
    },
    drain_timeout: "0.5s",
    access_log: [{ name: "file", typed_config: log }],
    route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes }] },
    http_filters: [{ name: "router", typed_config: typed(`${filters}.http.router.v3.Router`, {}) }],
  });
  return {
    name: `terminator-${listen.host}`,
    address: socket(listen),
    filter_chains: [
      {
        transport_socket: { name: "tls", typed_config: downstreamTls },
        filters: [{ name: "http", typed_config: manager }],
      },
    ],
  };
}
