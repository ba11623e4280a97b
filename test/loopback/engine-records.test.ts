// tests · records that break TLS: the peer that sent them gets the alert that RFC 8446 names, and nobody else notices.
import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import { clientEngine, installBoth, serverEngine } from "./hbone-pair.ts";
import { frame, preface, SETTINGS } from "./raw-h2.ts";
import { recordPeer } from "./raw-records.ts";
import { closedAtEnd, dial, serve } from "./support.ts";

const record = (type: number, body: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([type, 3, 3, body.length >> 8, body.length & 0xff]), body]);

const refused: readonly (readonly [what: string, bytes: Buffer, alert: string])[] = [
  ["a record with a wrong tag", record(23, Buffer.alloc(64, 7)), "ERR_SSL_SSL/TLS_ALERT_BAD_RECORD_MAC"],
];

for (const [what, bytes, alert] of refused) {
  test(`${what}: its alert, and a bystander's records stay whole`, async () => {
    installBoth();
    const app = closedAtEnd(await serve((socket) => socket.pipe(socket)));
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
    assert.equal(await peer.ended, alert);
    bystander.write("after");
    assert.equal(String((await once(bystander, "data"))[0]), "after");
  });
}
