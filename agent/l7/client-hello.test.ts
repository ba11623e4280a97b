// What is read of a caller's first bytes: what node:tls and OpenSSL send, in one piece and in many; and bytes of somebody who means harm.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import fc from "fast-check";
import { clientHello, type HelloRead, LONGEST_HELLO } from "./client-hello.ts";

const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));

/** What a client of node:tls sends first. */
async function helloOf(options: tls.ConnectionOptions): Promise<Buffer> {
  const server = net.createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const client = tls.connect({ ...options, host: "127.0.0.1", port: address.port, rejectUnauthorized: false });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [net.Socket];
  socket.on("error", () => {});
  const parts: Buffer[] = [];
  while (clientHello(Buffer.concat(parts)).kind === "more") parts.push(((await once(socket, "data")) as [Buffer])[0]);
  client.destroy();
  socket.destroy();
  server.close();
  return Buffer.concat(parts);
}

/** The same message, with each record cut into records of at most `size` bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const count = Math.ceil(message.length / size);
  return Buffer.concat(
    Array.from({ length: count }, (_, index) => {
      const part = message.subarray(index * size, (index + 1) * size);
      return Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part]);
    }),
  );
}

const block = (size: number, bytes: Uint8Array): Buffer => {
  const length = Buffer.alloc(size);
  length.writeUIntBE(bytes.length, 0, size);
  return Buffer.concat([length, bytes]);
};
const extension = (type: number, data: Uint8Array): Buffer => Buffer.concat([Buffer.from([0, type]), block(2, data)]);
const serverName = (name: Uint8Array, type = 0): Buffer =>
  extension(0, block(2, Buffer.concat([Buffer.from([type]), block(2, name)])));
/** Written here and not by a library, so that each part can be wrong. */
function written(...extensions: readonly Buffer[]): Buffer {
  const random = Buffer.alloc(34, 7);
  random.writeUInt16BE(0x303, 0);
  const body = Buffer.concat([
    random,
    block(1, Buffer.alloc(32)),
    block(2, Buffer.from([0x13, 1])),
    block(1, Buffer.from([0])),
    block(2, Buffer.concat(extensions)),
  ]);
  return Buffer.concat([Buffer.from([22, 3, 1]), block(2, Buffer.concat([Buffer.from([1]), block(3, body)]))]);
}

const named = (name: string | null): HelloRead => ({ kind: "hello", serverName: name });

test("the server that node:tls names is found, whatever the version", async () => {
  const hello = await helloOf({ servername: "Api.Shop.example" });
  assert.deepEqual(clientHello(hello), named("api.shop.example"));
  assert.deepEqual(clientHello(await helloOf({ servername: "a.b", maxVersion: "TLSv1.2" })), named("a.b"));
  assert.deepEqual(clientHello(await helloOf({})), named(null), "an address is no name");
  const protocols = Array.from({ length: 40 }, (_, index) => `protocol-${index}-${"x".repeat(60)}`);
  assert.deepEqual(
    clientHello(await helloOf({ servername: "long.example", ALPNProtocols: protocols })),
    named("long.example"),
  );
});

test("in pieces of any size it says how much more it needs, and then finds the same; in records of any size, too", async () => {
  const hello = await helloOf({ servername: "api.shop" });
  for (const bytes of [
    hello,
    inRecords(hello, 100),
    inRecords(hello, 1),
    written(serverName(Buffer.from("api.shop"))),
  ]) {
    let asked = 0;
    for (let has = 0; has < bytes.length; has += 1) {
      const read = clientHello(bytes.subarray(0, has));
      assert.ok(
        read.kind === "more" && read.bytes > has && read.bytes <= bytes.length,
        `${has}: ${JSON.stringify(read)}`,
      );
      assert.ok(read.bytes >= asked);
      asked = read.bytes;
    }
    assert.deepEqual(clientHello(bytes), named("api.shop"));
    // What comes behind is not looked at.
    assert.deepEqual(clientHello(Buffer.concat([bytes, Buffer.from("anything")])), named("api.shop"));
  }
});

test("what is no hello is known by its first byte, and what cannot be one is none", () => {
  for (const text of ["GET / HTTP/1.1\r\n", "SSH-2.0-x", "\0", "\x16\x02", "\x16\x03\x01\0\0", "\x15\x03\x01\0\x02"])
    assert.deepEqual(clientHello(Buffer.from(text, "latin1")), { kind: "none" }, text);
  const name = Buffer.from("a.example");
  const twice = Buffer.concat([Buffer.from([0]), block(2, name)]);
  for (const [what, bytes] of Object.entries({
    "the extension twice": written(serverName(name), serverName(name)),
    "two names": written(extension(0, block(2, Buffer.concat([twice, twice])))),
    "another type of name": written(serverName(name, 1)),
    "an empty name": written(serverName(Buffer.alloc(0))),
    "a name with a zero byte": written(serverName(Buffer.from("a.example\0.evil.example"))),
    "a name with a dot at its end": written(serverName(Buffer.from("a.example."))),
    "a name that is too long": written(serverName(Buffer.from(`${"a".repeat(63)}.`.repeat(4) + "b".repeat(63)))),
    "a list that is longer than its extension": written(extension(0, Buffer.from([0, 9, 0]))),
    "an answer of a server": Buffer.concat([Buffer.from([22, 3, 3]), block(2, Buffer.from([2, 0, 0, 0]))]),
    "bytes behind the extensions": (() => {
      const hello = Buffer.concat([written(), Buffer.from([0])]);
      hello.writeUInt16BE(hello.length - 5, 3);
      hello.writeUIntBE(hello.length - 9, 6, 3);
      return hello;
    })(),
  }))
    assert.deepEqual(clientHello(bytes), { kind: "none" }, what);
  assert.deepEqual(clientHello(written()), named(null));
});

test("no hello is longer than 16 KiB, and none is waited for that would be", () => {
  const long = written(serverName(Buffer.from("a.example")), extension(21, Buffer.alloc(LONGEST_HELLO)));
  assert.deepEqual(clientHello(long.subarray(0, 100)), { kind: "none" });
  const announced = Buffer.from([22, 3, 1, 0, 5, 1, 255, 255, 255, 0]);
  assert.deepEqual(clientHello(announced), { kind: "none" });
});

test(`random bytes and changed hellos cost nothing but their answer (ORLOP_SEED=${SEED})`, async () => {
  const hello = await helloOf({ servername: "api.shop" });
  const changed = fc
    .tuple(
      fc.constantFrom(hello, inRecords(hello, 60)),
      fc.array(fc.tuple(fc.nat(hello.length), fc.nat(255)), { maxLength: 6 }),
    )
    .map(([bytes, edits]) => {
      const copy = Buffer.from(bytes);
      for (const [at, byte] of edits) if (at < copy.length) copy[at] = byte;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 400 })), fc.nat(700), (bytes, end) => {
      const part = bytes.subarray(0, end);
      const read = clientHello(part);
      if (read.kind === "more") assert.ok(read.bytes > part.length && read.bytes <= LONGEST_HELLO);
      if (read.kind === "hello" && read.serverName !== null) assert.match(read.serverName, /^[a-z0-9._-]{1,253}$/);
    }),
    { seed: SEED, numRuns: 20_000 },
  );
});
