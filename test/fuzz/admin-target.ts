// fuzz · raw bytes at the admin socket: an HTTP answer that is none of 500, or an end.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startAdminServer } from "../../agent/admin/server.ts";
import { aSource } from "../../agent/admin/source.fake.ts";

const failures: unknown[] = [];
let path: Promise<string> | undefined;

/** One server for all inputs of a process; it does not keep the process alive. */
async function start(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "orlop-fuzz-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const socket = join(folder, "run", "agent.sock");
  await startAdminServer({
    path: socket,
    source: aSource(),
    peerOf: () => ({ uid: 0, pid: 1 }),
    ownUid: 65_534,
    warn: (message, fields) => void failures.push(message, fields),
  });
  return socket;
}

export async function adminRequest(bytes: Buffer): Promise<string> {
  path ??= start();
  const socket = connect({ path: await path, allowHalfOpen: true });
  const answer = await new Promise<string>((resolve) => {
    let text = "";
    socket.on("data", (part: Buffer) => {
      text += part.toString("latin1");
    });
    // Half of a request may come to an end with its other half missing: the reset says so.
    socket.on("error", () => resolve(text));
    socket.on("close", () => resolve(text));
    socket.on("end", () => socket.end());
    socket.end(bytes);
  });
  socket.destroy();
  assert.deepEqual(failures.splice(0), []);
  if (answer === "") return "nothing";
  const status = /^HTTP\/1\.1 ([0-9]{3}) /.exec(answer)?.[1];
  assert.ok(status !== undefined && status !== "500", answer.slice(0, 200));
  return status;
}
