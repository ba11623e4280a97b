// bench · HAProxy as mTLS pair: TCP in, TLS 1.3 AES-128-GCM between, TCP out; at its defaults and with 256 KB buffers. The same pair
// reading HTTP, and a single plain HAProxy that reads HTTP between two pods.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { SERVER_NAME } from "../world/certificates.ts";
import { installed, versionOf } from "../world/programs.ts";
import { folderIn, SERVER_PORT } from "../world/world.ts";
import {
  endsOf,
  FAR_HTTP_PORT,
  FAR_PORT,
  listening,
  NEAR_PORT,
  type OpenSide,
  startPair,
  withChildren,
} from "./side.ts";

type HaproxyPair = {
  readonly tuned: boolean;
  readonly mode: "tcp" | "http";
  /** A line per request goes to a file of the run. */
  readonly log?: true;
};

const TLS_TERMS = "ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256";
/** Of the clients' connections: in HTTP mode few more are open towards the servers, so that it holds nearly 20,000 descriptors. */
const MOST_CONNECTIONS = { tcp: 8_000, http: 9_900 } as const;

/**
 * HTTP mode keeps connections open on both legs. By default HAProxy opens another to the server for the first request of each client and
 * for each request that waits, and keeps none while a quarter of its descriptors are in use: with thousands of clients it does nothing but
 * handshakes once it is late.
 */
const keepAlive: Readonly<Record<HaproxyPair["mode"], { readonly global: string; readonly defaults: string }>> = {
  tcp: { global: "", defaults: "" },
  http: {
    global: "  tune.pool-low-fd-ratio 90\n  tune.pool-high-fd-ratio 95\n",
    defaults: "  http-reuse always\n  default-server maxconn 512\n  timeout queue 1h\n",
  },
};

function commonText({ tuned, mode, log }: HaproxyPair): string {
  return `global
  nbthread 1
  maxconn ${MOST_CONNECTIONS[mode]}
${keepAlive[mode].global}${tuned ? "  tune.bufsize 262144\n" : ""}${log ? "  log stdout format raw local0\n" : ""}
defaults
  mode ${mode}
${log ? "  log global\n  option httplog\n" : ""}  timeout connect 5s
  timeout client 1h
  timeout server 1h
${keepAlive[mode].defaults}
`;
}

/** With a log its lines go to a file: a pipe would make the bench read what the peer writes, and `-q` would close it. */
const programText = (haproxy: string, file: string, log: true | undefined): readonly string[] =>
  log === undefined
    ? [haproxy, "-db", "-q", "-f", file]
    : ["sh", "-c", `exec ${haproxy} -db -f ${file} > ${file}.log 2>&1`];

const versionText = (haproxy: string): string => versionOf(haproxy, ["-v"]).split(" ").slice(0, 3).join(" ");

/** One hop and no TLS, in the client's pod: what a request through a plain proxy on its own node costs. */
export const openHaproxyHop: OpenSide = async (world, route) => {
  const { box, client, server } = await endsOf(world, route);
  const haproxy = installed("haproxy");
  const file = path.join(folderIn(box.cluster, "haproxy-hop"), "hop.cfg");
  writeFileSync(
    file,
    `${commonText({ tuned: false, mode: "http" })}listen hop
  bind 127.0.0.1:${NEAR_PORT}
  server app ${server.ip4}:${SERVER_PORT}
`,
  );
  const program = client.start(programText(haproxy, file, undefined));
  await listening(client, NEAR_PORT, program);
  return {
    ...{ name: "haproxy-hop", version: `${versionText(haproxy)}, mode http`, box, client },
    target: { host: "127.0.0.1", port: NEAR_PORT },
    pids: () => withChildren(program),
    serverPids: () => [],
    stop: async () => {
      await program.stop();
    },
  };
};

export const openHaproxy =
  (pair: HaproxyPair): OpenSide =>
  async (world, route) => {
    const { tuned, mode, log } = pair;
    const ends = await endsOf(world, route);
    const { ca, client, server } = await world.certificates();
    const folder = folderIn(ends.box.cluster, `haproxy-${mode}`);
    const haproxy = installed("haproxy");
    const common = commonText(pair);
    const far = ends.server.ip4;
    const nearFile = path.join(folder, "near.cfg");
    const farFile = path.join(folder, "far.cfg");
    // no-ssl-reuse, no-tls-tickets: whole handshakes, as Orlop makes them.
    writeFileSync(
      nearFile,
      `${common}listen near
  bind 127.0.0.1:${NEAR_PORT}
  server far ${far}:${FAR_PORT} ssl crt ${client.both} ca-file ${ca} verify required verifyhost ${SERVER_NAME} \
sni str(${SERVER_NAME}) no-ssl-reuse no-tls-tickets ${TLS_TERMS}
`,
    );
    const bind = `ssl crt ${server.both} ca-file ${ca} verify required no-tls-tickets ${TLS_TERMS}`;
    writeFileSync(
      farFile,
      `${common}listen far
  bind ${far}:${FAR_PORT} ${bind}
  server app 127.0.0.1:${SERVER_PORT}

frontend handshakes
  mode http
  bind ${far}:${FAR_HTTP_PORT} ${bind} alpn h2
  http-request return status 204
`,
    );
    return startPair(ends, {
      name: `haproxy${tuned ? "-tuned" : ""}${mode === "http" ? "-http" : ""}${log ? "-log" : ""}`,
      version: `${versionText(haproxy)}${tuned ? ", tune.bufsize 262144" : ""}${mode === "http" ? ", mode http" : ""}`,
      near: programText(haproxy, nearFile, log),
      far: programText(haproxy, farFile, log),
      handshake: { host: far, port: FAR_HTTP_PORT, ca, ...client, serverName: SERVER_NAME },
    });
  };
