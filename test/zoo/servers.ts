// test zoo · real servers in a pod: nginx, redis, PostgreSQL, MariaDB, vsftpd, and a small server for what sockets show.
import { chownSync, cpSync, globSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, Host } from "../box/cluster.ts";
import { tail } from "../box/process.ts";

export const program = (name: string): string => fileURLToPath(new URL(`./programs/${name}`, import.meta.url));
/** Debian keeps the programs of each version apart. */
const POSTGRES = globSync("/usr/lib/postgresql/*/bin").at(-1) ?? "/usr/bin";
const START_MS = 60_000;

/** Empty databases, made once: each server gets a copy. */
export async function makeDatabases(cluster: Cluster): Promise<void> {
  const dir = path.join(cluster.dir, "zoo");
  mkdirSync(dir, { mode: 0o755 });
  // PostgreSQL refuses to run as root.
  const made = path.join(dir, "postgres");
  mkdirSync(made);
  chownSync(made, NOBODY, NOBODY);
  await ran(cluster.outside, [...asNobody, `${POSTGRES}/initdb`, "-D", made, "-U", "zoo", "-A", "trust", "--no-sync"]);
  writeFileSync(path.join(made, "pg_hba.conf"), "host all all all trust\n");
  // A server that starts removes the temporary tables that it finds: each has a directory of its own for them.
  const tmp = path.join(dir, "tmp");
  mkdirSync(tmp);
  const maria = ["mariadb-install-db", "--no-defaults", `--datadir=${dir}/mariadb`, `--tmpdir=${tmp}`, "--user=root"];
  await ran(cluster.outside, [...maria, "--skip-test-db", "--auth-root-authentication-method=normal"]);
}

const NOBODY = 65_534;
const asNobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];

async function ran(host: Host, argv: readonly string[]): Promise<void> {
  const done = await host.run(argv, START_MS);
  if (done.status !== 0) throw new Error(`${argv[0]}: ${tail(done.stdout)} ${tail(done.stderr)}`);
}

/** Starts every server in `host`, and waits until each answers inside it. */
export async function startZoo(cluster: Cluster, host: Host): Promise<void> {
  const dir = path.join(cluster.dir, "zoo", host.name);
  mkdirSync(dir, { mode: 0o755 });
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(dir, name), text);
    return path.join(dir, name);
  };
  host.start(["nginx", "-c", file("nginx.conf", nginxConf(dir)), "-e", "stderr"]);
  host.start(["redis-server", "--protected-mode", "no", "--save", "", "--dir", dir, "--bind", "0.0.0.0", "::"]);
  for (const name of ["postgres", "mariadb"]) {
    cpSync(path.join(cluster.dir, "zoo", name), path.join(dir, name), { recursive: true, preserveTimestamps: true });
  }
  await ran(host, ["chown", "-R", `${NOBODY}:${NOBODY}`, `${dir}/postgres`]);
  await ran(host, ["chmod", "700", `${dir}/postgres`]);
  const postgres = ["-D", `${dir}/postgres`, "-c", "listen_addresses=*", "-c", "unix_socket_directories=", "-F"];
  host.start([...asNobody, `${POSTGRES}/postgres`, ...postgres]);
  const maria = ["--no-defaults", "--user=root", `--datadir=${dir}/mariadb`, `--socket=${dir}/maria.sock`];
  const small = [
    "--bind-address=*",
    "--innodb-buffer-pool-size=8M",
    "--skip-name-resolve",
    `--pid-file=${dir}/maria.pid`,
    `--tmpdir=${dir}`,
  ];
  // Root with an empty password is for localhost alone: this server asks nobody.
  host.start(["mariadbd", ...maria, ...small, "--skip-grant-tables", "--skip-networking=0"]);
  const files = path.join(dir, "ftp");
  mkdirSync(files, { mode: 0o755 });
  for (const name of ["a", "b", "c"]) writeFileSync(path.join(files, name), `file ${name}\n`);
  const empty = path.join(dir, "empty");
  mkdirSync(empty, { mode: 0o755 });
  host.start(["vsftpd", file("vsftpd.conf", vsftpdConf(files, empty))]);
  await host.start(["python3", program("server.py")]).line(START_MS, (line) => line === "serving");
  for (const port of [8080, 6379, 5432, 3306, 21]) {
    await until(`port ${port} of ${host.name}`, START_MS, async () => {
      const done = await host.run(["nc", "-z", "-w", "2", host.ip6, String(port)]);
      return done.status === 0 ? true : undefined;
    });
  }
}

const nginxConf = (dir: string): string => `
daemon off; pid ${dir}/nginx.pid; error_log stderr; worker_processes 1; user root;
events {}
http {
  access_log off;
  client_body_temp_path ${dir}/t1; proxy_temp_path ${dir}/t2; fastcgi_temp_path ${dir}/t3; uwsgi_temp_path ${dir}/t4;
  scgi_temp_path ${dir}/t5;
  server {
    listen 8080; listen [::]:8080 ipv6only=on;
    location / { return 200 "client $remote_addr server $server_addr:$server_port\\n"; }
  }
}
`;

// The data connections of active mode come from port 20, and without a wait between two of them.
const vsftpdConf = (files: string, empty: string): string => `
listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
anon_root=${files}
no_anon_password=YES
connect_from_port_20=YES
ftp_username=ftp
secure_chroot_dir=${empty}
pasv_min_port=21100
pasv_max_port=21110
seccomp_sandbox=NO
`;
