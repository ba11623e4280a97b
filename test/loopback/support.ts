// tests · sockets and servers beside an engine on loopback.
import { once } from "node:events";
import net from "node:net";
import { after } from "node:test";

const opened: (net.Socket | { close(): void })[] = [];
after(() => {
  for (const each of opened) {
    if (each instanceof net.Socket) each.destroy();
    else each.close();
  }
});

/** What a test opened is closed at the end of its file, also when an assertion failed before the test closed it. */
export function closedAtEnd<T extends net.Socket | { close(): void }>(socketOrServer: T): T {
  opened.push(socketOrServer);
  return socketOrServer;
}

/** Nobody listens on tcpmux. A port that was free a moment ago may be another program's by now. */
export const CLOSED_PORT = 1;

export type Server = { readonly port: number; readonly connections: net.Socket[]; close(): void };

/** A TCP server on loopback; both halves are ended by hand. */
export async function serve(onConnection: (socket: net.Socket) => void, host = "127.0.0.1"): Promise<Server> {
  const connections: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    connections.push(socket);
    socket.on("error", () => {
      // Resets are part of what is tested; a test that cares listens, too.
    });
    onConnection(socket);
  });
  server.listen(0, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return closedAtEnd({
    port: address.port,
    connections,
    close() {
      server.close();
      for (const socket of connections) socket.destroy();
    },
  });
}

/** Connected, both halves ended by hand. */
export async function dial(port: number, host = "127.0.0.1"): Promise<net.Socket> {
  const socket = closedAtEnd(net.connect({ port, host, allowHalfOpen: true }));
  await once(socket, "connect");
  socket.on("error", () => {
    // As above: the engines of a test may end before its sockets.
  });
  return socket;
}

/** Everything until the peer's FIN. Rejects on a reset. */
export async function readAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** How a connection that is refused at once ends: its reset may come before `connect` is reported. */
export function dialRefused(port: number, host = "127.0.0.1"): Promise<string> {
  return howItEnds(net.connect({ port, host, allowHalfOpen: true }));
}

/** "end" for a FIN, else the error's code. */
export function howItEnds(socket: net.Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on("end", () => resolve("end"));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.resume();
  });
}
