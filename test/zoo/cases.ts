// test zoo · what is run against each server, and which differences docs/compatibility.md explains.
import type { Pod } from "../box/cluster.ts";
import { program } from "./servers.ts";

/** How the client and a server lie: on one node, on two, or the server outside the mesh. */
export type Place = "near" | "far" | "outside";
export type Case = {
  readonly name: string;
  /** Run by `sh -c` in the client pod. */
  readonly script: string;
  /** Row of docs/compatibility.md, by place: the outcome may differ there, as the row says. */
  readonly differs: Partial<Record<Place, string>>;
};

const python = (what: string, host: string, port: number): string =>
  `python3 ${program("probe.py")} ${what} ${host} ${port}`;

/** A port that nobody listens at. */
const CLOSED = 9;
/** These start a server of their own in the client pod: one after the other. */
export const alone = new Set(["haproxy checks", "nginx in front", "redis replica"]);

/** @param host the server's address; @param other its address of the other family. */
export function casesFor(client: Pod, host: string, other: string): readonly Case[] {
  const is6 = host.includes(":");
  const url = is6 ? `[${host}]` : host;
  const own = is6 ? client.ip6 : client.ip4;
  const same = {};
  // The far end is known only after connect() has returned.
  const late = (row: string): Case["differs"] => ({ far: row });
  const list: Record<string, readonly [script: string, differs: Case["differs"]]> = {
    curl: [`curl -sS -m 8 -w '%{remote_ip} %{remote_port} %{local_ip}' http://${url}:8080/`, same],
    "curl --local-port": [`curl -sS -m 8 --local-port 7420-7460 http://${url}:8080/`, same],
    "curl --interface ADDRESS": [`curl -sS -m 8 --interface ${own} http://${url}:8080/`, same],
    "curl --interface DEVICE": [`curl -sS -m 8 --interface if!eth0 http://${url}:8080/`, same],
    "curl, closed port": [`curl -sS -m 8 http://${url}:${CLOSED}/`, late("closed-port")],
    "curl, two families, first closed": [
      is6
        ? `curl -sS -m 8 --http0.9 --resolve zoo:7004:${url},${other} http://zoo:7004/ -o /dev/null -w '%{remote_ip}'`
        : "true",
      is6 ? late("closed-port") : same,
    ],
    wget: [`wget -qO- -T 8 -t 1 http://${url}:8080/`, same],
    nc: [`echo hello | nc -N -w 8 ${host} 7000`, same],
    "nc -p": [`echo hello | nc -N -w 8 -p $((20000 + $$ % 8000)) ${host} 7000`, same],
    "nc -z, closed port": [`nc -z -w 8 ${host} ${CLOSED}`, late("closed-port")],
    socat: [`echo hello | socat -t 8 - TCP:${url}:7000`, same],
    "redis-cli": [`redis-cli -h ${host} SET zoo 1 && redis-cli -h ${host} GET zoo`, same],
    "redis replica": [
      `redis-server --port 7480 --save "" --dir /tmp --replicaof ${host} 6379 > /dev/null & pid=$!
       for i in $(seq 150); do redis-cli -p 7480 INFO replication 2> /dev/null | grep -q master_link_status:up && break; sleep 0.2; done
       redis-cli -p 7480 INFO replication | grep -o 'master_link_status:[a-z]*'; kill $pid; wait $pid 2> /dev/null; true`,
      same,
    ],
    psql: [
      `psql -h ${host} -U zoo -d postgres -Atc 'select inet_client_addr(), inet_server_addr(), inet_server_port()'`,
      same,
    ],
    "libpq, first of two ports closed": [
      `psql 'host=${host},${host} port=${CLOSED},5432 user=zoo dbname=postgres connect_timeout=8' -Atc 'select 1'`,
      late("closed-port"),
    ],
    mariadb: [`mariadb --no-defaults -h ${host} -u root --skip-ssl -BNe 'select 1, @@port'`, same],
    "ftp, passive": [`curl -sS -m 8 ftp://${url}/a ftp://${url}/b ftp://${url}/c`, same],
    // curl takes it for an error when the server's reply comes before the data connection, as it may with the mesh.
    "ftp, active": [python("ftp", host, 21), same],
    "haproxy checks": [
      `cat > /tmp/zoo-$$.cfg <<CFG
global
  stats socket /tmp/zoo-$$.sock
defaults
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  mode http
backend zoo
  option httpchk GET /
  server open ${url}:8080 check inter 200ms fall 2 rise 1
backend tcp
  mode tcp
  server closed ${url}:${CLOSED} check inter 200ms fall 2 rise 1
CFG
       haproxy -f /tmp/zoo-$$.cfg > /dev/null 2>&1 & pid=$!
       for i in $(seq 150); do [ -S /tmp/zoo-$$.sock ] && break; sleep 0.2; done; sleep 3
       echo show stat | socat - /tmp/zoo-$$.sock | cut -d, -f1,2,18 | grep -E '(open|closed),' ; kill $pid; wait $pid 2> /dev/null; rm -f /tmp/zoo-$$.*; true`,
      late("closed-port"),
    ],
    "nginx in front": [
      `d=$(mktemp -d); printf 'daemon off; pid %s/p; error_log stderr; events {} http { access_log off; client_body_temp_path %s/1;
       proxy_temp_path %s/2; fastcgi_temp_path %s/3; uwsgi_temp_path %s/4; scgi_temp_path %s/5;
       server { listen 127.0.0.1:7490; location / { proxy_pass http://${url}:8080; } } }' $d $d $d $d $d $d > $d/c
       nginx -c $d/c -e /dev/null 2> /dev/null & pid=$!; for i in $(seq 150); do nc -z 127.0.0.1 7490 && break; sleep 0.2; done; curl -sS -m 8 http://127.0.0.1:7490/; kill $pid; wait $pid 2> /dev/null; rm -r $d`,
      same,
    ],
    java: [`java -XX:TieredStopAtLevel=1 ${program("Probe.java")} http://${url}:8080/`, same],
    node: [`node -e 'fetch("http://${url}:8080/").then(r=>r.text()).then(t=>process.stdout.write(t))'`, same],
    "go, connections kept and not": [
      `for keep in "" -disable-keepalive; do hey $keep -n 40 -c 8 -t 8 http://${url}:8080/ | grep responses; done`,
      same,
    ],
    "go, closed port": [`hey -n 1 -c 1 -t 8 http://${url}:${CLOSED}/ | tail -2`, late("closed-port")],
    "python urllib": [python("http", host, 8080), same],
    "names of both ends": [python("names", host, 7000), same],
    "errno, closed port": [python("errno", host, CLOSED), late("closed-port")],
    "non-blocking, closed port": [python("nonblocking", host, CLOSED), late("closed-port")],
    "second port after the first": [python("second-host", host, CLOSED), late("closed-port")],
    "half-close": [python("half-close", host, 7000), same],
    "reset by the server": [python("reset", host, 7003), same],
    "any address, port chosen": [python("bound", host, 7000), same],
    "one port, two destinations": [python("one-port", host, 7000), same],
    "urgent data": [python("urgent", host, 7002), late("urgent-data")],
    "client bound to a device": [python("device", host, 7000), same],
    "server bound to a device": [python("names", host, 7005), same],
  };
  return Object.entries(list).map(([name, [script, differs]]) => ({ name, script, differs }));
}
