// FdSocket of keeper.node: packets and descriptors arrive whole or not at all, limits hold, nothing leaks.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FdSocket, type FdSocket as Socket } from "../../agent/keeper/addon.ts";
import { until } from "../../test/support/until.ts";

const folder = mkdtempSync(join(tmpdir(), "orlop-fd-"));
after(() => rmSync(folder, { recursive: true }));
let made = 0;

async function pair(): Promise<{ a: Socket; b: Socket; listener: Socket }> {
  const path = join(folder, String(made++));
  const listener = FdSocket.listen(path, 0o600);
  const accepted = new Promise<Socket>((resolve) => listener.onConnection(resolve));
  const a = FdSocket.connect(path);
  return { a, b: await accepted, listener };
}
const closeAll = (...sockets: Socket[]): void => {
  for (const socket of sockets) socket.close();
};
const openFds = (): number => readdirSync("/proc/self/fd").length;
/** Until what was closed is closed: the loop does that in its next turn. A leak is what it waits for in vain. */
const closedTo = (most: number): Promise<void> =>
  until(() => openFds() <= most, { what: `${most} descriptors at most`, seen: openFds });
const none = new Int32Array();

test("a packet with descriptors arrives whole, in order, close-on-exec", async () => {
  const { a, b, listener } = await pair();
  writeFileSync(join(folder, "file"), "12345");
  const fd = openSync(join(folder, "file"), "r");
  const got: [string, number[]][] = [];
  const done = new Promise<void>((resolve) =>
    b.onMessage((bytes, fds) => {
      got.push([bytes.toString(), [...fds]]);
      if (got.length === 3) resolve();
    }),
  );
  a.send(Buffer.from("one"), Int32Array.of(fd, fd));
  a.send(Buffer.from("two"), none);
  a.send(Buffer.alloc(65_536, "x"), none);
  await done;
  assert.deepEqual(
    got.map(([text, fds]) => [text.length, fds.length]),
    [
      [3, 2],
      [3, 0],
      [65_536, 0],
    ],
  );
  for (const one of got[0]?.[1] ?? []) {
    assert.equal(fstatSync(one).size, 5);
    closeSync(one);
  }
  closeSync(fd);
  closeAll(a, b, listener);
});

test("who is at the other end, and who may come", async () => {
  const { a, b, listener } = await pair();
  assert.deepEqual(b.credentials(), { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  assert.throws(() => listener.credentials(), { code: "ENOTCONN" });
  const path = join(folder, String(made - 1));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.throws(() => FdSocket.listen(path, 0o600), { code: "EADDRINUSE", syscall: "listen" });
  closeAll(a, b, listener);
  assert.throws(() => FdSocket.connect(path), { code: "ECONNREFUSED" });
  FdSocket.listen(path, 0o666).close();
  writeFileSync(join(folder, "data"), "mine");
  assert.throws(() => FdSocket.listen(join(folder, "data"), 0o600), { code: "EADDRINUSE" }, "somebody's data stays");
});

test("limits: too long, too many, too much waiting", async () => {
  const { a, b, listener } = await pair();
  assert.throws(() => a.send(Buffer.alloc(65_537), none), { code: "EMSGSIZE" });
  assert.throws(() => a.send(Buffer.from("x"), new Int32Array(65)), { code: "EMSGSIZE" });
  assert.throws(() => a.send(Buffer.alloc(0), none), { code: "EINVAL" });
  assert.throws(() => a.send(Buffer.from("x"), Int32Array.of(-1)), TypeError);
  assert.throws(() => a.send(Buffer.from("x"), Int32Array.of(99_999)), { code: "EBADF" });
  let sent = 0;
  assert.throws(
    () => {
      for (; sent < 100_000; sent++) a.send(Buffer.alloc(4096, sent & 255), none);
    },
    { code: "ENOBUFS" },
  );
  let received = 0;
  await new Promise<void>((resolve) =>
    b.onMessage((bytes) => {
      assert.equal(bytes[0], received & 255, "in order");
      if (++received === sent) resolve();
    }),
  );
  closeAll(a, b, listener);
});

test("a packet beyond the limits never arrives, closes the socket and leaves no descriptor", async () => {
  const path = join(folder, String(made++));
  const listener = FdSocket.listen(path, 0o600);
  const hostile = [
    "s.send(b'x' * 65537)",
    "socket.send_fds(s, [b'x'], [0] * 65)",
    "socket.send_fds(s, [b'x' * 65537], [0] * 64)",
    "socket.send_fds(s, [b'x'], [0] * 253)",
  ];
  for (const send of hostile) {
    const before = openFds();
    const closed = new Promise<Error | undefined>((resolve) =>
      listener.onConnection((socket) => {
        socket.onMessage(() => assert.fail("arrived"));
        socket.onClose(resolve);
      }),
    );
    const program = `import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect("${path}"); ${send}`;
    const child = spawn("python3", ["-c", program], { stdio: "inherit" });
    const error = await closed;
    assert.equal(error instanceof Error && "code" in error && error.code, "EMSGSIZE", send);
    if (child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
    await closedTo(before);
  }
  listener.close();
});

test("the other side closes: told once, without an error; later sends fail", async () => {
  const { a, b, listener } = await pair();
  let told = 0;
  const closed = new Promise<Error | undefined>((resolve) =>
    b.onClose((error) => {
      told++;
      resolve(error);
    }),
  );
  b.onMessage(() => assert.fail("nothing was sent"));
  a.close();
  assert.equal(await closed, undefined);
  b.close();
  assert.equal(told, 1);
  assert.throws(() => b.send(Buffer.from("x"), none), { code: "EPIPE" });
  listener.close();
});

test("many connections come and go, no descriptor stays", async () => {
  const path = join(folder, String(made++));
  const listener = FdSocket.listen(path, 0o600);
  listener.onConnection((socket) => {
    socket.onMessage((bytes, fds) => {
      for (const fd of fds) closeSync(fd);
      socket.send(bytes, none);
    });
  });
  const before = openFds();
  for (let round = 0; round < 100; round++) {
    const client = FdSocket.connect(path);
    await new Promise<void>((resolve) => {
      client.onMessage(() => resolve());
      client.send(Buffer.from("hi"), Int32Array.of(0, 1, 2));
    });
    client.close();
  }
  await closedTo(before);
  listener.close();
});
