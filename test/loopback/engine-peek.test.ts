// tests · the first bytes of a connection, which are looked at and stay: enough at once, in pieces, too few before a FIN, and none.
import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { FirstBytes } from "../../agent/engine/events.ts";
import { dial, readAll, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";
import { until } from "./until.ts";

const refOf = ({ conn, generation }: { conn: number; generation: number }) => ({ conn, generation });
const textOf = ({ bytes }: FirstBytes): string => Buffer.from(bytes).toString("latin1");

/** Looks at `wanted` bytes, one number after the other, and then relays to `port`. */
function peeking(port: number, ...wanted: readonly number[]): TestEngine {
  const looks = new Map<string, number>();
  const under = new TestEngine((event) => {
    if (event.type !== "accepted" && event.type !== "first-bytes") return undefined;
    const key = `${event.conn} ${event.generation}`;
    const nth = looks.get(key) ?? 0;
    looks.set(key, nth + 1);
    const bytes = event.type === "first-bytes" && event.isAll ? undefined : wanted[nth];
    if (bytes !== undefined) return { ...refOf(event), type: "peek", bytes };
    return { ...refOf(event), type: "relay", to: { address: "127.0.0.1", port } };
  });
  under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  return under;
}
const looksOf = ({ events }: TestEngine): readonly FirstBytes[] =>
  events.filter((event): event is FirstBytes => event.type === "first-bytes");

test("bytes that are there are seen, and reach the server after all", async () => {
  const server = await serve((socket) => socket.pipe(socket));
  using under = peeking(server.port, 5);
  const socket = await dial(under.listen(1, "outbound"));
  const payload = Buffer.alloc(100_000, "abcdefg");
  socket.end(payload);
  assert.deepEqual(await readAll(socket), payload);
  const [seen] = looksOf(under);
  assert.ok(seen !== undefined && seen.bytes.length >= 5 && seen.bytes.length <= 16_384 && !seen.isAll);
  assert.ok(textOf(seen).startsWith("abcde"));
  server.close();
});

test("it waits for as many as are wanted, and sees them from the beginning each time", async () => {
  const server = await serve((socket) => socket.pipe(socket));
  using under = peeking(server.port, 2, 6);
  const socket = await dial(under.listen(1, "outbound"));
  for (const [nth, parts] of [
    ["a", "bc"],
    ["de", "f"],
  ].entries()) {
    for (const part of parts) {
      socket.write(part);
      await sleep(30);
    }
    // Each half is one look, also where its parts come together.
    await until(() => looksOf(under).length > nth);
  }
  assert.deepEqual(looksOf(under).map(textOf), ["abc", "abcdef"]);
  socket.end();
  assert.equal((await readAll(socket)).toString(), "abcdef");
  server.close();
});

test("a FIN before there are enough ends the look, with what there is", async () => {
  const server = await serve((socket) => socket.pipe(socket));
  using under = peeking(server.port, 100);
  const port = under.listen(1, "outbound");
  const socket = await dial(port);
  socket.write("half");
  await sleep(30);
  assert.deepEqual(looksOf(under), []);
  socket.end();
  assert.equal((await readAll(socket)).toString(), "half");
  const nothing = await dial(port);
  nothing.end();
  assert.equal((await readAll(nothing)).toString(), "");
  assert.deepEqual(
    looksOf(under).map((each) => [textOf(each), each.isAll]),
    [
      ["half", true],
      ["", true],
    ],
  );
  server.close();
});

test("a caller that sends nothing is looked at for five seconds; a reset ends it at once", async () => {
  const server = await serve((socket) => socket.end("too late"));
  using under = peeking(server.port, 5);
  const port = under.listen(1, "outbound");
  const gone = await dial(port);
  await under.event("accepted");
  gone.resetAndDestroy();
  assert.equal((await under.event("closed")).cause, "reset-by-downstream");
  const silent = await dial(port);
  const [data] = (await once(silent, "data")) as [Buffer];
  assert.equal(data.toString(), "too late");
  assert.deepEqual(
    looksOf(under).map((each) => [textOf(each), each.isAll]),
    [["", true]],
  );
  silent.end();
  server.close();
});
