// test peers · the programs of the zoo: how each server is started and each client called. No package of theirs is imported.
import path from "node:path";
import { fileURLToPath } from "node:url";
import { built } from "../support/projects.ts";
import { each, java, type Program, type Server } from "./program.ts";
import { kafka, mariadb, postgres, redis } from "./servers.ts";

export const CALLS_PER_PROGRAM = 20;

const own = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const node = process.execPath;
const python = (): string => path.join(built("zoo/python"), "bin/python");
const go = (name: string): string => path.join(built("zoo/go"), "bin", name);
/** HTTP/1.1, and HTTP/2 without TLS at the next port. */
export const httpServer: Server = {
  ...{ name: "http", port: 8080 },
  serve: () => [node, own("./http-server.ts"), "8080"],
  ready: (line) => line === "listening",
};
type Call = Program["call"];
const http = (name: string, call: Call): Program => ({ name, server: httpServer, call });
const h2c = (name: string, call: Call): Program => ({ name, server: httpServer, portOffset: 1, call });
const numbered = (...words: readonly (string | number)[]): readonly string[] => words.map(String);

/** One process for each call, as scripts use it. */
const curl = (version: string): Call =>
  each(
    `curl --silent --show-error ${version} --data "body $call" -w ' %{http_code} %{http_version}\\n' "http://$1:$2/call/$call"`,
  );

const httpPrograms: readonly Program[] = [
  http("curl", curl("--http1.1")),
  h2c("curl, HTTP/2", curl("--http2-prior-knowledge")),
  http("Node fetch", (...to) => numbered(node, own("./http-client.ts"), "fetch", ...to)),
  http("Node http", (...to) => numbered(node, own("./http-client.ts"), "http", ...to)),
  h2c("Node http2", (...to) => numbered(node, own("./http-client.ts"), "h2c", ...to)),
  http("Python requests", (...to) => numbered(python(), own("./python/calls.py"), "requests", ...to)),
  http("Python httpx", (...to) => numbered(python(), own("./python/calls.py"), "httpx", ...to)),
  h2c("Python httpx, HTTP/2", (...to) => numbered(python(), own("./python/calls.py"), "httpx-h2c", ...to)),
  http("Python aiohttp", (...to) => numbered(python(), own("./python/calls.py"), "aiohttp", ...to)),
  http("Go net/http", (...to) => numbered(go("http"), ...to, "h1")),
  h2c("Go net/http, HTTP/2", (...to) => numbered(go("http"), ...to, "h2c")),
  http("Rust reqwest", (...to) => numbered(path.join(built("zoo/rust"), "bin/zoo-reqwest"), ...to, "h1")),
  h2c("Rust reqwest, HTTP/2", (...to) => numbered(path.join(built("zoo/rust"), "bin/zoo-reqwest"), ...to, "h2c")),
  http("Java HttpClient", (...to) => numbered(...java("JavaHttp"), ...to)),
  http("okhttp", (...to) => numbered(...java("OkHttp"), ...to, "h1")),
  h2c("okhttp, HTTP/2", (...to) => numbered(...java("OkHttp"), ...to, "h2c")),
  http("Apache HttpClient 5", (...to) => numbered(...java("Apache5"), ...to)),
];

/** A program that is its own server: `serve PORT` prints `listening`, `call HOST PORT COUNT` its answers. */
function pair(name: string, port: number, program: () => readonly string[]): Program {
  const server: Server = {
    ...{ name: name.replaceAll(/[^a-z]/gi, "-"), port, ready: (line) => line === "listening" },
    serve: () => [...program(), "serve", String(port)],
  };
  return { name, server, call: (...to) => numbered(...program(), "call", ...to) };
}

export const programs: readonly Program[] = [
  ...httpPrograms,
  pair("gRPC in Python", 8090, () => [python(), own("./python/greeter.py")]),
  pair("gRPC in Node", 8091, () => [node, path.join(built("zoo/node"), "greeter.mjs")]),
  pair("gRPC in Go", 8092, () => [go("grpc")]),
  pair("gRPC in Java", 8093, () => java("Grpc")),
  pair("Dubbo, triple", 8094, () => [...java("Dubbo"), "tri"]),
  pair("Dubbo, dubbo", 8095, () => [...java("Dubbo"), "dubbo"]),
  redis,
  postgres,
  mariadb,
  kafka,
];
