// demo · the serving side of the demo's application: plain TCP on both families, one small protocol per port.
import net from "node:net";
import { endpoint, receive, sendStream, type TransferRequest } from "./stream.ts";

/** echo: each line is answered with who asked and whom. greeter: speaks first. transfer: both ways at once. once: one answer, then it closes. */
export const appPorts = { echo: 8080, greeter: 8081, transfer: 8082, once: 8084 } as const;

/** What `echo` answers to each line, as one line of JSON. `peer` is what the application itself sees (getpeername). */
export type EchoReply = { readonly pod: string; readonly peer: string; readonly self: string; readonly said: string };

/** Serves until it is killed. Writes `serving` once every port listens. */
export async function serve(pod: string): Promise<void> {
  const handlers: Readonly<Record<keyof typeof appPorts, (socket: net.Socket) => void>> = {
    echo: (socket) => echo(pod, socket),
    greeter: (socket) => {
      socket.write(`220 ${pod} at your service\r\n`);
      socket.on("data", (data) => socket.write(data));
    },
    transfer: (socket) => void transfer(socket).catch(() => socket.resetAndDestroy()),
    once: (socket) => socket.once("data", (data) => socket.end(data)),
  };
  const listening: Promise<void>[] = [];
  for (const [name, port] of Object.entries(appPorts)) {
    const handler = handlers[name as keyof typeof appPorts];
    for (const host of ["0.0.0.0", "::"]) {
      const server = net.createServer({ allowHalfOpen: name === "transfer", noDelay: true }, (socket) => {
        // A peer may reset at any time; the application has nothing to do about it but to forget the connection.
        socket.on("error", () => {});
        handler(socket);
      });
      listening.push(
        new Promise((resolve, reject) => {
          server.once("error", reject);
          server.listen({ host, port, ipv6Only: host === "::", backlog: 4096 }, resolve);
        }),
      );
    }
  }
  await Promise.all(listening);
  process.stdout.write("serving\n");
}

function echo(pod: string, socket: net.Socket): void {
  const peer = endpoint(socket.remoteAddress, socket.remotePort);
  const self = endpoint(socket.localAddress, socket.localPort);
  let partial = "";
  socket.setEncoding("utf8");
  socket.on("data", (text: string) => {
    const lines = (partial + text).split("\n");
    partial = lines.pop() ?? "";
    for (const said of lines) socket.write(`${JSON.stringify({ pod, peer, self, said } satisfies EchoReply)}\n`);
  });
}

/** The request line, then both directions at once; last, when the client has ended, what this side received. */
async function transfer(socket: net.Socket): Promise<void> {
  const head: Buffer[] = [];
  let newline = -1;
  while (newline < 0) {
    const chunk = await new Promise<Buffer>((resolve, reject) => {
      socket.once("data", (data: Buffer) => {
        socket.pause();
        resolve(data);
      });
      socket.once("end", () => reject(new Error("no request")));
      socket.resume();
    });
    head.push(chunk);
    newline = Buffer.concat(head).indexOf(10);
  }
  const all = Buffer.concat(head);
  const request = JSON.parse(all.subarray(0, newline).toString()) as TransferRequest;
  if (all.length > newline + 1) socket.unshift(all.subarray(newline + 1));
  const [, received] = await Promise.all([
    sendStream(socket, request.bytes, request.serverSeed),
    receive(socket, request.bytes, request.serverDelayMs, true),
  ]);
  socket.end(`${JSON.stringify(received)}\n`);
}
