// test support · a caller in a pod whose connections outlive others' restarts. For each path it keeps a connection of HTTP/1.1 and posts on it again
// and again, waits for a slow answer, talks over a websocket, and holds a stream of gRPC.
//   node kept-talks.ts HOST HTTP_PORT GRPC_PORT NAME…      prints `up` once each has had an answer; then, for a line of input, a KeptTalks
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

export type KeptTalk = {
  readonly talk: string;
  /** Answers, or pieces of an answer. */
  readonly heard: number;
  /** Connections that it took. */
  readonly connections: number;
  /** What was not as it should be; the first few. */
  readonly failures: readonly string[];
};
export type KeptTalks = readonly KeptTalk[];

type Talk = { talk: string; heard: number; connections: number; failures: string[] };

const [host = "", port = "", grpcPort = "", ...names] = process.argv.slice(2);
const EVERY_MS = 20;
const talks: Talk[] = [];

function begin(talk: string): Talk {
  const made = { talk, heard: 0, connections: 1, failures: [] };
  talks.push(made);
  return made;
}

function failed(talk: Talk, why: string): void {
  if (talk.failures.length < 5) talk.failures.push(why);
}

function ask(agent: http.Agent, method: string, path: string): Promise<{ status: number; socket: unknown }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, agent, method, path }, (response) => {
      response.resume();
      response.on("end", () => resolve({ status: response.statusCode ?? 0, socket: request.socket }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(method === "POST" ? "hey" : undefined);
  });
}

async function post(name: string): Promise<void> {
  const talk = begin(`post ${name}`);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const sockets = new Set<unknown>();
  for (let nth = 0; ; nth += 1) {
    try {
      const { status, socket } = await ask(agent, "POST", `/${name}/${nth}`);
      sockets.add(socket);
      talk.connections = sockets.size;
      talk.heard += 1;
      if (status !== 200) failed(talk, `${nth}: ${status}`);
    } catch (error) {
      failed(talk, `${nth}: ${String(error)}`);
    }
    await sleep(EVERY_MS);
  }
}

async function waitLong(name: string): Promise<void> {
  const talk = begin(`slow ${name}`);
  for (;;) {
    try {
      const { status } = await ask(new http.Agent(), "GET", `/slow/${name}`);
      talk.heard += 1;
      if (status !== 200) failed(talk, String(status));
    } catch (error) {
      failed(talk, String(error));
    }
    await sleep(EVERY_MS);
  }
}

async function websocket(name: string): Promise<void> {
  const talk = begin(`websocket ${name}`);
  const socket = connect({ host, port: Number(port) });
  socket.on("error", (error) => failed(talk, String(error)));
  socket.on("end", () => failed(talk, "it ended"));
  await once(socket, "connect");
  socket.write(`GET /${name}/ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n`);
  let head = "";
  while (!head.includes("\r\n\r\n")) head += ((await once(socket, "data")) as [Buffer])[0].toString("latin1");
  if (!head.startsWith("HTTP/1.1 101 ")) return failed(talk, head);
  let expected = 0;
  let got = "";
  socket.on("data", (bytes: Buffer) => {
    got += bytes.toString("latin1");
    const lines = got.split("\n");
    got = lines.pop() ?? "";
    for (const line of lines) {
      if (Number(line) !== expected) failed(talk, `${line} in place of ${expected}`);
      expected += 1;
      talk.heard += 1;
    }
  });
  for (let nth = 0; socket.writable; nth += 1) {
    socket.write(`${nth}\n`);
    await sleep(EVERY_MS);
  }
}

function watch(name: string): void {
  const talk = begin(`grpc ${name}`);
  const session = http2.connect(`http://${host.includes(":") ? `[${host}]` : host}:${grpcPort}`);
  session.on("error", (error) => failed(talk, String(error)));
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/demo.Greeter/Watch", "content-type": "application/grpc", te: "trailers" },
    "x-to": name,
  });
  stream.on("data", () => {
    talk.heard += 1;
  });
  stream.on("error", () => {});
  stream.on("close", () => failed(talk, `closed with ${stream.rstCode}`));
}

for (const name of names) {
  void post(name);
  void waitLong(name);
  void websocket(name);
  watch(name);
}
while (!talks.every(({ heard }) => heard > 0)) await sleep(EVERY_MS);
console.log("up");
createInterface({ input: process.stdin }).on("line", () => console.log(JSON.stringify(talks)));
