// test peers · three origins whose logs say what they have read: Node's HTTP server, nginx and Apache httpd.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../../../demo/mesh/mesh-run.ts";
import type { Host } from "../../box/cluster.ts";
import { type Running, tail } from "../../box/process.ts";
import { listening } from "../support/world.ts";

/** A request as an origin has read it. */
export type Reading = {
  /** Empty, like all but the status, where the origin could not read the request. */
  readonly method: string;
  readonly target: string;
  /** The decoded and normalised path by which the origin chooses what it serves; empty: it does not say. */
  readonly normal: string;
  readonly host: string;
  readonly status: number;
  /** Of the body that was read, in bytes. */
  readonly length: number;
  readonly md5: string;
};
export type Origin = {
  readonly name: string;
  readonly port: number;
  /** Ends the origin in good order. Returns what it has read, in the order of its log. */
  stop(): Promise<readonly Reading[]>;
};

const own = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const md5Of = (text: string): string => createHash("md5").update(Buffer.from(text, "latin1")).digest("hex");
const END_MS = 20_000;

type Make = {
  readonly name: string;
  readonly port: number;
  /** `folder` exists, for its configuration and its log. */
  start(host: Host, address: string, folder: string): Running;
  /** A socket in its folder that it needs from another program. */
  readonly behind?: string;
  /** The signal that lets it write its log before it ends. */
  readonly end: NodeJS.Signals;
  readingOf(line: string): Reading;
};

const node: Make = {
  name: "node",
  port: 8081,
  start: (host, address, folder) =>
    host.start([process.execPath, own("node-origin.ts"), address, "8081", path.join(folder, "log")]),
  end: "SIGTERM",
  readingOf: (line) => JSON.parse(line) as Reading,
};

/** As a proxy it reads the whole body before it asks the application, which is a second server of its own. */
const nginxConfig = (address: string, folder: string): string => `
daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error crit;
events { worker_connections 4096; }
http {
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  log_format reading escape=json '{"method":"$request_method","target":"$request_uri","normal":"$uri","host":"$http_host","status":$status,"line":"$request","body":"$request_body"}';
  client_body_buffer_size 64k; client_body_in_single_buffer on;
  upstream behind { server unix:${folder}/behind; keepalive 64; }
  server { listen unix:${folder}/behind; access_log off; keepalive_requests 1000000; location / { return 200 "read\\n"; } }
  server {
    listen ${address}:8082 backlog=1024; access_log ${folder}/log reading; keepalive_requests 1000000;
    location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_ignore_client_abort on; }
  }
}
`;

const nginx: Make = {
  name: "nginx",
  port: 8082,
  start: (host, address, folder) => {
    const file = path.join(folder, "nginx.conf");
    writeFileSync(file, nginxConfig(address, folder));
    return host.start(["/usr/sbin/nginx", "-e", path.join(folder, "error"), "-c", file]);
  },
  end: "SIGQUIT",
  readingOf: (text) => {
    const { body, line, ...read } = JSON.parse(text) as Omit<Reading, "length" | "md5"> &
      Record<"body" | "line", string>;
    // For a request that it could not read, only $request has a value.
    const [method = "", target = ""] = read.target === "" ? line.split(" ") : [read.method, read.target];
    return { ...read, method, target, length: body.length, md5: md5Of(body) };
  },
};

/** As a proxy it reads a body of this size whole; the Node server behind it says how long the body is. */
const modules = ["mpm_event", "authz_core", "proxy", "proxy_http"];
const apacheConfig = (address: string, folder: string): string => `
ServerRoot ${folder}
ServerName a
DefaultRuntimeDir ${folder}
PidFile ${folder}/pid
ErrorLog ${folder}/error
LogLevel crit
Listen ${address}:8083
${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join("\n")}
User www-data
Group www-data
StartServers 1
ServerLimit 2
ThreadLimit 128
ThreadsPerChild 128
MaxRequestWorkers 256
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
DocumentRoot ${folder}/empty
TraceEnable off
ProxyTimeout 60
ProxyPass / "unix:${folder}/behind|http://a/" nocanon
LogFormat "%m\\t%r\\t%U\\t%{Host}i\\t%s\\t%{x-length}o\\t%{x-md5}o" reading
CustomLog ${folder}/log reading
`;

/** Undoes the escapes of a log of Apache. */
const unescaped = (text: string): string =>
  text.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex: string | undefined, mark = "") => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    return { n: "\n", r: "\r", t: "\t", b: "\b", v: "\v", f: "\f" }[mark as string] ?? mark;
  });

const apache: Make = {
  name: "apache",
  behind: "behind",
  port: 8083,
  start: (host, address, folder) => {
    const file = path.join(folder, "httpd.conf");
    mkdirSync(path.join(folder, "empty"));
    writeFileSync(file, apacheConfig(address, folder));
    const behind = host.start([process.execPath, own("node-origin.ts"), path.join(folder, "behind"), "", "/dev/null"]);
    const itself = host.start(["/usr/sbin/apache2", "-X", "-f", file]);
    void itself.finished.finally(() => behind.kill());
    return itself;
  },
  end: "SIGTERM",
  readingOf: (line) => {
    const words = line.split("\t").map((word) => (word === "-" ? "" : unescaped(word)));
    const [method = "", start = "", normal = "", host = "", status = "0", length = "0", md5 = ""] = words;
    return {
      ...{ method, target: start.split(" ")[1] ?? "", normal, host },
      status: Number(status),
      length: Number(length),
      md5,
    };
  },
};

export const makes: readonly Make[] = [node, nginx, apache];
export const portOf = (name: string): number => makes.find((make) => make.name === name)?.port ?? 0;

/** Starts all three in `host`, at their ports of `address`. */
export async function startOrigins(host: Host, address: string, folder: string): Promise<readonly Origin[]> {
  return Promise.all(
    makes.map(async (make): Promise<Origin> => {
      const place = path.join(folder, `${host.name}-${make.name}`);
      mkdirSync(place, { recursive: true });
      const running = make.start(host, address, place);
      await listening(host, make.port, running);
      const { behind } = make;
      if (behind !== undefined) await until(behind, END_MS, () => existsSync(path.join(place, behind)) || undefined);
      return {
        ...{ name: make.name, port: make.port },
        async stop() {
          running.kill(make.end);
          const done = await running.wait(END_MS);
          if (done.status !== 0) throw new Error(`${make.name} ended with ${done.status}: ${tail(done.stderr)}`);
          const file = path.join(place, "log");
          const text = existsSync(file) ? readFileSync(file, "latin1") : "";
          return text.split("\n").filter(Boolean).map(make.readingOf);
        },
      };
    }),
  );
}
