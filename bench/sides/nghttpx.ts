// bench · nghttpx as HTTP/2 CONNECT pair: the packaged proxy nearest to HBONE. The load generator asks it by HTTP/1.1
// CONNECT and answers the CONNECT that comes out at the far end.
import { SERVER_NAME } from "../world/certificates.ts";
import { installed, versionOf } from "../world/programs.ts";
import { SERVER_PORT } from "../world/world.ts";
import { endsOf, FAR_PORT, NEAR_PORT, type OpenSide, startPair } from "./side.ts";

export const openNghttpx: OpenSide = async (world, route) => {
  const ends = await endsOf(world, route);
  const { ca, client, server } = await world.certificates();
  const nghttpx = installed("nghttpx");
  const far = ends.server.ip4;
  const common = [
    ...[
      "--conf=/dev/null",
      "--workers=1",
      "--backend-connections-per-host=20000",
      "--http2-proxy",
      "--log-level=ERROR",
      "--errorlog-file=/dev/stderr",
    ],
    ...["--accesslog-file=/dev/null", "--frontend-read-timeout=1h", "--frontend-write-timeout=1h"],
    ...["--frontend-http2-read-timeout=1h", "--backend-read-timeout=1h", "--backend-write-timeout=1h"],
  ];
  const tls = [
    ...["--tls-min-proto-version=TLSv1.3", "--tls-max-proto-version=TLSv1.3"],
    ...["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--tls13-client-ciphers=TLS_AES_128_GCM_SHA256"],
    `--cacert=${ca}`,
  ];
  return startPair(ends, {
    name: "nghttpx",
    version: versionOf(nghttpx, ["--version"]),
    near: [
      ...[nghttpx, ...common, ...tls, `--frontend=127.0.0.1,${NEAR_PORT};no-tls`],
      `--backend=${far},${FAR_PORT};;proto=h2;tls;sni=${SERVER_NAME}`,
      ...[`--client-cert-file=${client.certificate}`, `--client-private-key-file=${client.key}`],
    ],
    far: [
      ...[nghttpx, ...common, ...tls, `--frontend=${far},${FAR_PORT}`],
      ...[`--backend=127.0.0.1,${SERVER_PORT};;proto=http/1.1`, "--verify-client", `--verify-client-cacert=${ca}`],
      ...[server.key, server.certificate],
    ],
    connectTo: `${far}:${SERVER_PORT}`,
    handshake: { host: far, port: FAR_PORT, ca, ...client, serverName: SERVER_NAME },
  });
};
