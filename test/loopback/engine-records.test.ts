// tests · either record layer behind a handshake: bytes exact in either suite, and records that break TLS get the alert that RFC 8446
// names, while nobody else notices.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import type net from "node:net";
import test from "node:test";
import { useOwnRecords } from "../../agent/engine/addon.ts";
import { ca, clientEngine, clientLeaf, installBoth, serverEngine } from "./hbone-pair.ts";
import { peerServer } from "./http2-peer.ts";
import { connectBlock, DATA, END_HEADERS, frame, HEADERS, preface, SETTINGS } from "./raw-h2.ts";
import { type RecordPeer, recordPeer } from "./raw-records.ts";
import { closedAtEnd, dial, howItEnds, readAll, serve } from "./support.ts";

const layers = ["openssl", "own"] as const;
const suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"] as const;

const record = (type: number, body: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([type, 3, 3, body.length >> 8, body.length & 0xff]), body]);

const refused: readonly (readonly [what: string, bytes: Buffer, alert: string])[] = [
  ["a wrong tag", record(23, Buffer.alloc(64, 7)), "BAD_RECORD_MAC"],
  ["more than a record may hold", record(23, Buffer.alloc((1 << 14) + 257, 7)), "RECORD_OVERFLOW"],
  ["change_cipher_spec behind Finished", record(20, Buffer.from([1])), "UNEXPECTED_MESSAGE"],
  ["an alert in the clear", record(21, Buffer.from([2, 40])), "UNEXPECTED_MESSAGE"],
  ["payload too short for a tag", record(23, Buffer.alloc(16, 7)), "BAD_RECORD_MAC"],
];

/** What a random echo of `length` bytes gives back. */
async function echoed(stream: http2.ClientHttp2Stream, payload: Buffer): Promise<Buffer> {
  stream.end(payload);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

for (const layer of layers) {
  const begin = (): void => {
    useOwnRecords(layer === "own");
    installBoth();
  };

  for (const [what, bytes, alert] of refused) {
    test(`${layer}: a record with ${what} gets ${alert}, and a bystander's records stay whole`, async () => {
      begin();
      const app = await serve((socket) => socket.pipe(socket));
      using under = serverEngine(() => app.port);
      const port = under.listen(2, "hbone");
      using other = clientEngine(() => port);
      const bystander = await dial(other.listen(1, "outbound"));
      bystander.write("before");
      await once(bystander, "data");
      const peer = await recordPeer(port);
      peer.tls.write(Buffer.concat([preface, frame(SETTINGS, 0, 0)]));
      await once(peer.tls, "data");
      peer.raw.write(bytes);
      assert.match(await peer.ended, new RegExp(`ALERT_${alert}$`));
      bystander.write("after");
      assert.equal(String((await once(bystander, "data"))[0]), "after");
      app.close();
    });
  }

  for (const [what, cut] of [
    ["a FIN without close_notify", (peer: RecordPeer) => peer.raw.end()],
    ["close_notify", (peer: RecordPeer) => peer.tls.end()],
    ["a record that is cut by a FIN", (peer: RecordPeer) => peer.raw.end(Buffer.from([23, 3, 3, 0, 64, 7, 7]))],
  ] as const) {
    test(`${layer}: ${what} in the middle of a stream is no end of it: the application gets a reset`, async () => {
      begin();
      const served = Promise.withResolvers<net.Socket>();
      const app = await serve((socket) => served.resolve(socket));
      using under = serverEngine(() => app.port);
      const peer = await recordPeer(under.listen(2, "hbone"));
      const part = frame(DATA, 0, 1, Buffer.from("a part"));
      peer.tls.write(
        Buffer.concat([preface, frame(SETTINGS, 0, 0), frame(HEADERS, END_HEADERS, 1, connectBlock), part]),
      );
      const socket = await served.promise;
      assert.equal(String((await once(socket, "data"))[0]), "a part");
      const ends = howItEnds(socket);
      cut(peer);
      assert.equal(await ends, "ECONNRESET");
      app.close();
    });
  }

  for (const ciphers of suites) {
    test(`${layer}: a client of OpenSSL's, ${ciphers}: bytes exact in both directions`, async () => {
      begin();
      const app = await serve((socket) => socket.pipe(socket));
      using under = serverEngine(() => app.port);
      const port = under.listen(2, "hbone");
      const options = { ca: ca.pem, cert: clientLeaf.chainPem, key: clientLeaf.keyPem, ciphers };
      const session = http2.connect(`https://127.0.0.1:${port}`, { ...options, checkServerIdentity: () => undefined });
      session.on("error", () => {
        // The engine of the test ends first.
      });
      closedAtEnd({ close: () => session.destroy() });
      for (const length of [1, 16_383, 16_384, 16_385, 3_000_000]) {
        const payload = randomBytes(length);
        const stream = session.request({ ":method": "CONNECT", ":authority": "127.0.0.1:80" }, { endStream: false });
        assert.ok((await echoed(stream, payload)).equals(payload), `${length} bytes`);
      }
      app.close();
    });

    test(`${layer}: a server of OpenSSL's that sends tickets, ${ciphers}: bytes exact in both directions`, async () => {
      begin();
      const peer = await peerServer(
        (stream) => {
          stream.respond({ ":status": 200 });
          stream.pipe(stream);
        },
        {},
        ciphers,
      );
      using under = clientEngine(() => peer.port);
      const port = under.listen(1, "outbound");
      for (const length of [1, 16_384, 2_000_000]) {
        const payload = randomBytes(length);
        const socket = await dial(port);
        socket.end(payload);
        assert.ok((await readAll(socket)).equals(payload), `${length} bytes`);
      }
      peer.close();
    });
  }
}

test("tunnels keep the layer with which they were opened, and one end may have the other", async () => {
  installBoth();
  const app = await serve((socket) => socket.pipe(socket));
  using server = serverEngine(() => app.port);
  const hbone = server.listen(2, "hbone");
  const engines = layers.map((layer) => {
    useOwnRecords(layer === "own");
    return clientEngine(() => hbone);
  });
  const sockets = await Promise.all(
    engines.map(async (engine, i) => {
      useOwnRecords(i % 2 === 0);
      const socket = await dial(engine.listen(1, "outbound"));
      socket.write("first");
      assert.equal(String((await once(socket, "data"))[0]), "first");
      return socket;
    }),
  );
  for (const own of [true, false]) {
    useOwnRecords(own);
    for (const socket of sockets) {
      socket.write("again");
      assert.equal(String((await once(socket, "data"))[0]), "again");
    }
  }
  for (const engine of engines) engine[Symbol.dispose]();
  app.close();
});
