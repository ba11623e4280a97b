// bench · HAProxy as mTLS pair: TCP in, TLS 1.3 AES-128-GCM between, TCP out; at its defaults and with 256 KB buffers.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { SERVER_NAME } from "../certificates.ts";
import { installed, versionOf } from "../programs.ts";
import { folderIn, SERVER_PORT } from "../world.ts";
import { endsOf, FAR_HTTP_PORT, FAR_PORT, NEAR_PORT, type OpenSide, startPair } from "./side.ts";

export const openHaproxy =
  ({ tuned }: { readonly tuned: boolean }): OpenSide =>
  async (world, route) => {
    const ends = await endsOf(world, route);
    const { ca, client, server } = await world.certificates();
    const folder = folderIn(ends.box.cluster, "haproxy");
    const haproxy = installed("haproxy");
    const common = `global
  nbthread 1
  maxconn 8000
${tuned ? "  tune.bufsize 262144\n" : ""}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h

`;
    const tls = "ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256";
    const far = ends.server.ip4;
    const nearFile = path.join(folder, "near.cfg");
    const farFile = path.join(folder, "far.cfg");
    // no-ssl-reuse, no-tls-tickets: whole handshakes, as Orlop makes them.
    writeFileSync(
      nearFile,
      `${common}listen near
  bind 127.0.0.1:${NEAR_PORT}
  server far ${far}:${FAR_PORT} ssl crt ${client.both} ca-file ${ca} verify required verifyhost ${SERVER_NAME} \
sni str(${SERVER_NAME}) no-ssl-reuse no-tls-tickets ${tls}
`,
    );
    const bind = `ssl crt ${server.both} ca-file ${ca} verify required no-tls-tickets ${tls}`;
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
      name: tuned ? "haproxy-tuned" : "haproxy",
      version: `${versionOf(haproxy, ["-v"]).split(" ").slice(0, 3).join(" ")}${tuned ? ", tune.bufsize 262144" : ""}`,
      near: [haproxy, "-db", "-q", "-f", nearFile],
      far: [haproxy, "-db", "-q", "-f", farFile],
      handshake: { host: far, port: FAR_HTTP_PORT, ca, ...client, serverName: SERVER_NAME },
    });
  };
