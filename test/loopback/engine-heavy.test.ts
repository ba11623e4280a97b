// tests · beside a stream that fills its tunnel: newcomers get another tunnel; where none is to be had, they share.
import assert from "node:assert/strict";
import { once } from "node:events";
import type net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Pair, pair } from "./hbone-pair.ts";
import { dial, type Server, serve } from "./support.ts";

const BULK = "b";
const block = Buffer.alloc(1 << 20, BULK);

/** Echoes, except for what begins as bulk: that is only read. */
function echoOrSink(): Promise<Server> {
  return serve((socket) => {
    socket.once("data", (first: Buffer) => {
      if (first.toString("latin1", 0, 1) === BULK) return void socket.resume();
      socket.write(first);
      socket.pipe(socket);
    });
  });
}

/** Sends without end, as fast as it goes. */
function flood(socket: net.Socket): void {
  const more = (): void => {
    while (socket.writable && socket.write(block));
  };
  socket.on("drain", more);
  more();
}

async function echo(port: number): Promise<net.Socket> {
  const socket = await dial(port);
  socket.write("e");
  const [answer] = await once(socket, "data");
  assert.equal(String(answer), "e");
  return socket;
}

const dialled = ({ client }: Pair): number => client.engine.stats().tunnelsDialledTotal;

test("a second tunnel is dialled and used as long as a stream fills the first", async () => {
  const app = await echoOrSink();
  using tunnels = pair(app.port);
  const bulk = await dial(tunnels.port);
  flood(bulk);
  const newcomers: net.Socket[] = [];
  while (dialled(tunnels) === 1) {
    newcomers.push(await echo(tunnels.port));
    await sleep(20);
  }
  assert.equal(tunnels.client.engine.stats().tunnels, 2);
  // The far end sees by which tunnel a request came.
  const ports = tunnels.server.events.flatMap((event) => (event.type === "connect-request" ? [event.peer.port] : []));
  assert.equal(new Set(ports).size, 2);
  assert.equal(ports.filter((port) => port !== ports[0]).length, 1);
  assert.notEqual(ports.at(-1), ports[0]);
  bulk.destroy();
  // A newcomer beside no heavy stream opens no tunnel.
  for (let i = 0; i < 10; i++) newcomers.push(await echo(tunnels.port));
  assert.equal(dialled(tunnels), 2);
  assert.deepEqual(
    newcomers.map((socket) => socket.readyState).filter((state) => state !== "open"),
    [],
  );
  for (const socket of newcomers) socket.destroy();
  app.close();
});

test("when the second tunnel cannot be had, the newcomer shares the first", async () => {
  const app = await echoOrSink();
  let certificates = 0;
  using tunnels = pair(app.port, {
    client: (event) =>
      event.type === "peer-certificate" && ++certificates > 1
        ? { type: "reject-peer", conn: event.conn, generation: event.generation }
        : undefined,
  });
  const bulk = await dial(tunnels.port);
  flood(bulk);
  const newcomers: net.Socket[] = [];
  while (certificates < 2) {
    newcomers.push(await echo(tunnels.port));
    await sleep(20);
  }
  assert.equal(tunnels.client.closed().length, 0);
  for (const socket of [...newcomers, bulk]) socket.destroy();
  app.close();
});
