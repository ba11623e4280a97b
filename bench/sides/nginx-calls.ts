// bench · nginx as mTLS pair that reads calls of gRPC: HTTP/2 in, HTTP/2 over TLS 1.3 between, HTTP/2 out.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { SERVER_NAME } from "../world/certificates.ts";
import { installed, versionOf } from "../world/programs.ts";
import { CALLS_PORT, folderIn } from "../world/world.ts";
import { type CallsOf, startCallee } from "./callee.ts";
import { FAR_PORT, NEAR_PORT, type OpenSide, startPair } from "./side.ts";

export const openNginxCalls =
  (calls: CallsOf): OpenSide =>
  async (world) => {
    const box = await world.plain();
    const { cluster, client, calledServer } = box;
    const { ca, client: shown, server } = await world.certificates();
    const folder = folderIn(cluster, "nginx-calls");
    const nginx = installed("nginx");
    const far = calledServer.ip4;
    const cipher = "Ciphersuites TLS_AES_128_GCM_SHA256";
    // nginx sends a call of its own over each connection to the next hop, and keeps those.
    const serverText = (name: string, to: string, rest: string): string => `user root;
worker_processes 1;
worker_rlimit_nofile 19000;
daemon off;
pid ${folder}/${name}.pid;
error_log stderr error;
events { worker_connections 18000; }
http { access_log off; client_max_body_size 0;
upstream next { server ${to}; keepalive 1024; keepalive_requests 1000000000; }
server { keepalive_requests 1000000000; keepalive_timeout 1h; ${rest} } }
`;
    const [nearFile, farFile] = ["near", "far"].map((name) => path.join(folder, `${name}.conf`)) as [string, string];
    writeFileSync(
      nearFile,
      serverText(
        "near",
        `${far}:${FAR_PORT}`,
        `listen 127.0.0.1:${NEAR_PORT} http2 backlog=4096;
grpc_ssl_certificate ${shown.certificate}; grpc_ssl_certificate_key ${shown.key};
grpc_ssl_trusted_certificate ${ca}; grpc_ssl_verify on; grpc_ssl_name ${SERVER_NAME};
grpc_ssl_protocols TLSv1.3; grpc_ssl_conf_command ${cipher}; grpc_ssl_session_reuse off;
location / { grpc_pass grpcs://next; }`,
      ),
    );
    writeFileSync(
      farFile,
      serverText(
        "far",
        `127.0.0.1:${CALLS_PORT}`,
        `listen ${far}:${FAR_PORT} ssl http2 backlog=4096;
ssl_certificate ${server.certificate}; ssl_certificate_key ${server.key};
ssl_client_certificate ${ca}; ssl_verify_client on; ssl_protocols TLSv1.3; ssl_conf_command ${cipher};
ssl_session_cache off; ssl_session_tickets off;
location / { grpc_pass grpc://next; }`,
      ),
    );
    const callee = await startCallee(calledServer, folder, calls);
    const run = (file: string): string[] => [nginx, "-p", folder, "-c", file, "-e", "stderr"];
    try {
      const pair = await startPair(
        { box, client, server: calledServer },
        {
          name: "nginx-grpc",
          version: versionOf(nginx, ["-v"]).replace("nginx version: ", ""),
          near: run(nearFile),
          far: run(farFile),
        },
      );
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
