// tests · urgent data (RFC 793, "Communication of Urgent Information") through one engine: its bytes are carried in their order. The
// peers are Python programs, since Node cannot send urgent bytes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type net from "node:net";
import { createInterface } from "node:readline";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { dial, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";

/** An engine whose pod 1 relays everything accepted to `port`. */
function relayTo(port: number, host = "127.0.0.1"): TestEngine {
  const under = new TestEngine((event) =>
    event.type === "accepted" ? { ...refOf(event), type: "relay", to: { address: host, port } } : undefined,
  );
  under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  return under;
}
const refOf = ({ conn, generation }: { conn: number; generation: number }) => ({ conn, generation });

/** Sends urgent bytes between plain ones, in one packet and alone, then reads until the end. Node cannot send any. */
const URGENT = `
import socket, sys, time
def talk(s):
  s.sendall(b"one"); s.send(b"two!", socket.MSG_OOB); s.sendall(b"three")
  time.sleep(0.1); s.send(b"?", socket.MSG_OOB); time.sleep(0.1); s.sendall(b"four")
  print(b"".join(iter(lambda: s.recv(100), b"")).decode(), flush=True)
if sys.argv[1] == "dial":
  talk(socket.create_connection(("127.0.0.1", int(sys.argv[2]))))
else:
  at = socket.create_server(("127.0.0.1", 0)); print(at.getsockname()[1], flush=True); talk(at.accept()[0])`;
const ALL_URGENT = "onetwo!three?four";

/** What has come, once it is as long as what was sent: a byte that stays behind shows as a test that does not end. */
async function readAsMuch(socket: net.Socket): Promise<string> {
  let all = "";
  while (all.length < ALL_URGENT.length) all += (await once(socket, "data")).toString();
  return all;
}

test("urgent bytes of a client arrive in their order, and nothing behind them waits", async (t) => {
  const server = await serve(() => {});
  using under = relayTo(server.port);
  const client = spawn("python3", ["-c", URGENT, "dial", String(under.listen(1, "outbound"))], { stdio: "pipe" });
  t.after(() => client.kill());
  while (server.connections.length === 0) await sleep(1);
  const [at] = server.connections;
  assert.ok(at);
  assert.equal(await readAsMuch(at), ALL_URGENT);
  at.end("all there");
  assert.equal((await once(createInterface(client.stdout), "line"))[0], "all there");
  server.close();
});

test("urgent bytes of a server arrive in their order, and nothing behind them waits", async (t) => {
  const server = spawn("python3", ["-c", URGENT, "serve"], { stdio: "pipe" });
  t.after(() => server.kill());
  const lines = createInterface(server.stdout);
  using under = relayTo(Number((await once(lines, "line"))[0]));
  const socket = await dial(under.listen(1, "outbound"));
  assert.equal(await readAsMuch(socket), ALL_URGENT);
  socket.end("all there");
  assert.equal((await once(lines, "line"))[0], "all there");
  socket.destroy();
});
