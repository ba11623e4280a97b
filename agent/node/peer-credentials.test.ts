// Who is at the other end of a unix socket.
import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import * as engine from "../engine/addon.ts";
import { scratch, until } from "./built.fake.ts";
import { peerCredentials } from "./peer-credentials.ts";

test("who connected to a unix socket is asked of the kernel; of a closed socket nothing is known", async (t) => {
  const path = join(scratch(t), "a.sock");
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer((socket) => accepted.resolve(socket)).listen(path);
  const client = connect(path);
  const socket = await accepted.promise;
  t.after(() => {
    client.destroy();
    server.close();
  });
  const known = peerCredentials(socket, engine.peerCredentials);
  assert.deepEqual([known?.pid, known?.uid], [process.pid, process.getuid?.()]);
  socket.destroy();
  await until(() => socket.closed);
  assert.equal(peerCredentials(socket, engine.peerCredentials), null);
});
