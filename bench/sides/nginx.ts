// bench · nginx as mTLS pair (its stream module): at its defaults and with 256 KB buffers. The same pair reading HTTP.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { SERVER_NAME } from "../world/certificates.ts";
import { installed, versionOf } from "../world/programs.ts";
import { folderIn, SERVER_PORT } from "../world/world.ts";
import { endsOf, FAR_HTTP_PORT, FAR_PORT, NEAR_PORT, type OpenSide, startPair } from "./side.ts";

export const openNginx =
  ({ tuned, mode }: { readonly tuned: boolean; readonly mode: "tcp" | "http" }): OpenSide =>
  async (world, route) => {
    const ends = await endsOf(world, route);
    const { ca, client, server } = await world.certificates();
    const folder = folderIn(ends.box.cluster, `nginx-${mode}`);
    const nginx = installed("nginx");
    const far = ends.server.ip4;
    const head = (name: string): string => `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
worker_processes 1;
worker_rlimit_nofile 19000;
daemon off;
pid ${folder}/${name}.pid;
error_log stderr error;
events { worker_connections 18000; }
`;
    const buffers = tuned ? "proxy_buffer_size 256k;" : "";
    const cipher = "Ciphersuites TLS_AES_128_GCM_SHA256";
    // Neither session cache nor tickets: whole handshakes, as Orlop makes them.
    const serverTls = `ssl_certificate ${server.certificate}; ssl_certificate_key ${server.key};
    ssl_client_certificate ${ca}; ssl_verify_client on; ssl_protocols TLSv1.3; ssl_conf_command ${cipher};
    ssl_session_cache off; ssl_session_tickets off;`;
    const nearFile = path.join(folder, "near.conf");
    const farFile = path.join(folder, "far.conf");
    writeFileSync(
      nearFile,
      `${head("near")}stream { server {
    listen 127.0.0.1:${NEAR_PORT} backlog=4096;
    proxy_pass ${far}:${FAR_PORT};
    proxy_ssl on; proxy_ssl_certificate ${client.certificate}; proxy_ssl_certificate_key ${client.key};
    proxy_ssl_trusted_certificate ${ca}; proxy_ssl_verify on; proxy_ssl_name ${SERVER_NAME};
    proxy_ssl_protocols TLSv1.3; proxy_ssl_conf_command ${cipher}; proxy_ssl_session_reuse off;
    proxy_timeout 1h; ${buffers}
} }
`,
    );
    writeFileSync(
      farFile,
      `${head("far")}stream { server {
    listen ${far}:${FAR_PORT} ssl backlog=4096;
    ${serverTls}
    proxy_pass 127.0.0.1:${SERVER_PORT};
    proxy_timeout 1h; ${buffers}
} }
http { access_log off; server {
    listen ${far}:${FAR_HTTP_PORT} ssl http2;
    ${serverTls}
    return 204;
} }
`,
    );
    const run = (file: string): string[] => [nginx, "-p", folder, "-c", file, "-e", "stderr"];
    if (mode === "http") {
      // What keeps a connection to the next hop open: nginx's own default is HTTP/1.0 and a connection per request.
      const location = (
        to: string,
      ): string => `upstream next { server ${to}; keepalive 1024; keepalive_requests 1000000000; }
server {
    keepalive_requests 1000000000; keepalive_timeout 1h;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;`;
      writeFileSync(
        nearFile,
        `${head("near")}http { access_log off;
${location(`${far}:${FAR_PORT}`)}
    listen 127.0.0.1:${NEAR_PORT} backlog=4096;
    proxy_ssl_certificate ${client.certificate}; proxy_ssl_certificate_key ${client.key};
    proxy_ssl_trusted_certificate ${ca}; proxy_ssl_verify on; proxy_ssl_name ${SERVER_NAME};
    proxy_ssl_protocols TLSv1.3; proxy_ssl_conf_command ${cipher}; proxy_ssl_session_reuse off;
    location / { proxy_pass https://next; }
} }
`,
      );
      writeFileSync(
        farFile,
        `${head("far")}http { access_log off;
${location(`127.0.0.1:${SERVER_PORT}`)}
    listen ${far}:${FAR_PORT} ssl backlog=4096;
    ${serverTls}
    location / { proxy_pass http://next; }
} }
`,
      );
    }
    return startPair(ends, {
      name: `nginx${tuned ? "-tuned" : ""}${mode === "http" ? "-http" : ""}`,
      version: `${versionOf(nginx, ["-v"]).replace("nginx version: ", "")}${tuned ? ", proxy_buffer_size 256k" : ""}`,
      near: run(nearFile),
      far: run(farFile),
      handshake: { host: far, port: FAR_HTTP_PORT, ca, ...client, serverName: SERVER_NAME },
    });
  };
