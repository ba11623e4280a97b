// test peers · an origin: Node's HTTP server, which notes each request that it reads. SIGTERM ends it when its notes are written.
//   node node-origin.ts HOST PORT FILE
//   node node-origin.ts SOCKET "" FILE
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import http from "node:http";
import type { Reading } from "./origins.ts";

const [host = "", port = "0", file = ""] = process.argv.slice(2);
const notes = createWriteStream(file, { flags: "a" });
const note = (reading: Reading): void => void notes.write(`${JSON.stringify(reading)}\n`);
const md5 = (bytes: Buffer): string => createHash("md5").update(bytes).digest("hex");

const server = http.createServer((request, response) => {
  const { method = "", url: target = "" } = request;
  const body: Buffer[] = [];
  let noted = false;
  const read = (status: number): void => {
    if (noted) return;
    noted = true;
    const bytes = Buffer.concat(body);
    const seen = { length: bytes.length, md5: md5(bytes) };
    note({ method, target, normal: "", host: request.headers.host ?? "", status, ...seen });
    response.setHeaders(new Map(Object.entries(seen).map(([name, value]) => [`x-${name}`, String(value)])));
  };
  request.on("data", (part: Buffer) => body.push(part));
  request.on("end", () => {
    read(200);
    response.end("read\n");
  });
  request.on("error", () => read(400));
  request.on("close", () => read(400));
});
server.keepAliveTimeout = 60_000;
// Without this listener, Node answers the request as an ordinary request, and hangs on a next request that it cannot read.
server.on("upgrade", ({ method = "", url: target = "", headers }, socket) => {
  note({ method, target, normal: "", host: headers.host ?? "", status: 426, length: 0, md5: "" });
  socket.on("error", () => socket.destroy());
  socket.end("HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
});
server.on("checkExpectation", ({ method = "", url: target = "", headers }, response) => {
  note({ method, target, normal: "", host: headers.host ?? "", status: 417, length: 0, md5: "" });
  response.writeHead(417).end();
});
server.on("clientError", (error: NodeJS.ErrnoException & { readonly rawPacket?: Buffer }, socket) => {
  const [, method = "", target = ""] = /^(\S+) (\S+) HTTP\//.exec(error.rawPacket?.toString("latin1") ?? "") ?? [];
  // Neither says that something could not be read: the connection has ended, and a request that was begun has its own note.
  if (error.code !== "ECONNRESET" && error.code !== "HPE_INVALID_EOF_STATE")
    note({ method, target, normal: "", host: "", status: 400, length: 0, md5: "" });
  if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  else socket.destroy();
});
if (port === "") server.listen({ path: host, writableAll: true });
else server.listen(Number(port), host);

process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
  notes.end(() => process.exit(0));
});
