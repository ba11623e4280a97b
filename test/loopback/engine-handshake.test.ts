// tests · who is turned away at :15008 and why, and whom our own dial turns away.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import tls from "node:tls";
import { askForHybrid, dropIdentity, installIdentity, installRoots } from "../../agent/engine/addon.ts";
import type { EngineEvent, HandshakeFailure } from "../../agent/engine/events.ts";
import { type Leaf, TestCa } from "./certificates.ts";
import {
  ca,
  clientEngine,
  clientId,
  clientLeaf,
  installBoth,
  pair,
  SERVER,
  serverEngine,
  serverId,
  serverLeaf,
  welcome,
} from "./hbone-pair.ts";
import { dial, dialRefused, howItEnds, readAll, serve } from "./support.ts";

const minute = 60_000;
const other = await TestCa.create("another root");

const turnedAway: readonly (readonly [HandshakeFailure, () => Promise<Leaf | null>])[] = [
  ["no-certificate", async () => null],
  [
    "expired",
    () => ca.leaf(clientId, { notBefore: new Date(Date.now() - 2 * minute), notAfter: new Date(Date.now() - minute) }),
  ],
  ["not-yet-valid", () => ca.leaf(clientId, { notBefore: new Date(Date.now() + minute) })],
  ["unknown-issuer", () => other.leaf(clientId)],
  ["wrong-usage", () => ca.leaf(clientId, { usages: ["server"] })],
  ["rejected-peer", () => ca.leaf("spiffe://cluster.local/ns/default/sa/somebody-else")],
];

for (const [reason, makeLeaf] of turnedAway) {
  test(`a client is turned away: ${reason}`, async () => {
    installBoth();
    const leaf = await makeLeaf();
    using under = serverEngine(() => 1);
    const port = under.listen(2, "hbone");
    const socket = tls.connect({
      port,
      host: "127.0.0.1",
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      ...(leaf && { cert: leaf.chainPem, key: leaf.keyPem }),
    });
    const ended = howItEnds(socket);
    const failed = await under.event("handshake-failed");
    assert.equal(failed.reason, reason);
    assert.equal(failed.peer.address, "127.0.0.1");
    assert.equal(failed.podIdx, 2);
    await ended;
    assert.equal(under.engine.stats().tunnels, 0);
    assert.equal(under.engine.stats().handshakes, 0);
  });
}

test("a chain that was verified before is turned away all the same: expired since, other roots, other usage", async () => {
  installBoth();
  using under = serverEngine(
    () => 1,
    (event) => (event.type === "peer-certificate" ? welcome(event, clientId) : undefined),
  );
  const port = under.listen(2, "hbone");
  const shake = async (leaf: Leaf): Promise<string> => {
    const socket = tls.connect({
      port,
      host: "127.0.0.1",
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      cert: leaf.chainPem,
      key: leaf.keyPem,
    });
    const seen = under.events.length;
    const told = (): EngineEvent | undefined =>
      under.events.slice(seen).find(({ type }) => type === "peer-certificate" || type === "handshake-failed");
    socket.on("error", () => {});
    while (told() === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
    const event = told();
    socket.destroy();
    return event?.type === "handshake-failed" ? event.reason : "verified";
  };
  const known = await ca.leaf(clientId, { usages: ["client"] });
  assert.deepEqual([await shake(known), await shake(known)], ["verified", "verified"]);

  installRoots(other.pem);
  assert.equal(await shake(known), "unknown-issuer");
  installBoth();
  assert.equal(await shake(known), "verified");

  const server = tls.createServer({
    cert: known.chainPem,
    key: known.keyPem,
    ca: ca.pem,
    requestCert: true,
    ALPNProtocols: ["h2"],
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  using dialling = clientEngine(() => (server.address() as net.AddressInfo).port);
  assert.equal(await dialRefused(dialling.listen(1, "outbound")), "ECONNRESET");
  assert.equal((await dialling.event("closed")).cause, "tls-failed");
  server.close();

  // Where a busy machine comes too late for the first of them, the next lives longer.
  for (let lifeMs = 4_000, verified = false; !verified; lifeMs *= 2) {
    const endsMs = Date.now() + lifeMs;
    const brief = await ca.leaf(clientId, { notAfter: new Date(endsMs), usages: ["client"] });
    while ((await shake(brief)) === "verified") {
      verified = true;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // A certificate has whole seconds.
    assert.ok(Date.now() >= endsMs - 1_000, "turned away before its end");
    assert.equal(await shake(brief), "expired");
  }
});

test("a client without h2 is turned away", async () => {
  installBoth();
  using under = serverEngine(() => 1);
  const port = under.listen(2, "hbone");
  for (const ALPNProtocols of [undefined, ["http/1.1"]]) {
    const socket = tls.connect({
      port,
      host: "127.0.0.1",
      rejectUnauthorized: false,
      cert: clientLeaf.chainPem,
      key: clientLeaf.keyPem,
      ...(ALPNProtocols && { ALPNProtocols }),
    });
    await howItEnds(socket);
  }
  const reasons = under.events.flatMap((event) => (event.type === "handshake-failed" ? [event.reason] : []));
  assert.deepEqual(reasons, ["no-alpn", "no-alpn"]);
});

test("TLS 1.2, plaintext, silence then goodbye, and a reset at once", async () => {
  installBoth();
  using under = serverEngine(() => 1);
  const port = under.listen(2, "hbone");
  await howItEnds(tls.connect({ port, host: "127.0.0.1", maxVersion: "TLSv1.2", rejectUnauthorized: false }));
  const plain = await dial(port);
  plain.write("GET / HTTP/1.1\r\n\r\n");
  await howItEnds(plain);
  (await dial(port)).end();
  await under.event("handshake-failed", (event) => event.reason === "closed");
  (await dial(port)).resetAndDestroy();
  while (under.events.length < 4) await new Promise((resolve) => setTimeout(resolve, 1));
  const reasons = under.events.flatMap((event) => (event.type === "handshake-failed" ? [event.reason] : []));
  assert.deepEqual(reasons, ["protocol", "plaintext", "closed", "closed"]);
  assert.equal(under.engine.stats().tunnels, 0);
});

test("a client that says nothing is let go after the deadline, and one address may hold 128 at most", async () => {
  installBoth();
  using under = serverEngine(() => 1);
  const port = under.listen(2, "hbone");
  const silent = Array.from({ length: 150 }, () => net.connect(port, "127.0.0.1"));
  const endings = await Promise.all(silent.map(howItEnds));
  assert.equal(endings.filter((ending) => ending === "ECONNRESET").length, 22);
  const reasons = under.events.flatMap((event) => (event.type === "handshake-failed" ? [event.reason] : []));
  assert.equal(reasons.filter((reason) => reason === "timeout").length, 128);
  assert.equal(under.engine.stats().shedTotal, 22);
  assert.equal(under.engine.stats().tunnels, 0);
});

test("no certificate of our own: the handshake fails and says so", async () => {
  installBoth();
  using under = serverEngine(() => 1);
  under.engine.setPod(2, { netnsCookie: 2n, identity: 9999 });
  await howItEnds(tls.connect({ port: under.listen(2, "hbone"), host: "127.0.0.1", rejectUnauthorized: false }));
  assert.equal((await under.event("handshake-failed")).reason, "no-identity");
});

test("our dial turns away a server with the wrong identity, issuer, usage or plaintext", async () => {
  installBoth();
  const expectations = [
    ["tls-peer-rejected", await ca.leaf("spiffe://cluster.local/ns/default/sa/impostor")],
    ["tls-failed", await other.leaf(serverId)],
    ["tls-failed", await ca.leaf(serverId, { usages: ["client"] })],
  ] as const;
  for (const [cause, leaf] of expectations) {
    const server = tls.createServer({
      cert: leaf.chainPem,
      key: leaf.keyPem,
      ca: ca.pem,
      requestCert: true,
      ALPNProtocols: ["h2"],
    });
    server.on("tlsClientError", () => {});
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    using under = clientEngine(() => (server.address() as net.AddressInfo).port);
    assert.equal(await dialRefused(under.listen(1, "outbound")), "ECONNRESET");
    assert.equal((await under.event("closed")).cause, cause);
    server.close();
  }
  const plain = await serve((socket) => socket.end("SSH-2.0-OpenSSH\r\n"));
  using under = clientEngine(() => plain.port);
  assert.equal(await dialRefused(under.listen(1, "outbound")), "ECONNRESET");
  assert.equal((await under.event("closed")).cause, "tls-failed");
  plain.close();
});

test("a server that turns our certificate away is told by its alert", async (context) => {
  installBoth();
  const directory = mkdtempSync(join(tmpdir(), "orlop-alert-"));
  context.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "server.pem"), `${serverLeaf.chainPem}\n${serverLeaf.keyPem}\n`, { mode: 0o600 });
  writeFileSync(join(directory, "roots.pem"), other.pem);
  // Not Node: it closes without the alert.
  const server = spawn(
    "openssl",
    "s_server -accept 127.0.0.1:0 -cert server.pem -Verify 1 -verify_return_error -CAfile roots.pem -alpn h2".split(
      " ",
    ),
    { cwd: directory, stdio: ["pipe", "pipe", "ignore"] },
  );
  context.after(() => server.kill());
  let said = "";
  while (!/ACCEPT .*:\d+/.test(said)) said += String((await once(server.stdout, "data"))[0]);
  const port = Number(/ACCEPT .*:(\d+)/.exec(said)?.[1]);
  using under = clientEngine(() => port);
  assert.equal(await dialRefused(under.listen(1, "outbound")), "ECONNRESET");
  const closed = await under.event("closed");
  assert.equal(closed.cause, "tls-failed");
  assert.equal(closed.detail, 48, "unknown_ca");
});

test("a rotated certificate serves new handshakes; live tunnels go on, retired ones end when idle", async () => {
  const app = await serve((socket) => socket.pipe(socket));
  using tunnel = pair(app.port);
  const before = await dial(tunnel.port);
  before.write("a");
  await once(before, "data");
  const renewed = await ca.leaf(serverId);
  installIdentity(SERVER, renewed.chainPem, renewed.pkcs8);
  tunnel.client.engine.retireTunnels(101);
  const after = await dial(tunnel.port);
  after.write("b");
  await once(after, "data");
  assert.equal(tunnel.client.engine.stats().tunnelsDialledTotal, 2);
  const leaves = tunnel.client.events.flatMap((event) => (event.type === "peer-certificate" ? [event.leaf] : []));
  assert.equal(leaves.length, 2);
  assert.notDeepEqual(leaves[0], leaves[1]);
  before.end("still");
  assert.equal((await readAll(before)).toString(), "still");
  while (tunnel.server.engine.stats().tunnels > 1) await new Promise((resolve) => setTimeout(resolve, 1));
  after.end();
  dropIdentity(SERVER);
  app.close();
});

/** The group of a handshake with a client that names these and sends a key share of the first alone. */
async function groupWith(port: number, ecdhCurve: string): Promise<string> {
  const socket = tls.connect({
    ...{ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"], ecdhCurve },
    ...{ cert: clientLeaf.chainPem, key: clientLeaf.keyPem },
  });
  await once(socket, "secureConnect");
  const info = socket.getEphemeralKeyInfo();
  const group = info !== null && "name" in info ? String(info.name) : "";
  socket.destroy();
  return group;
}

test("a client that offers X25519MLKEM768 without a key share is asked for one, unless the configuration says no", async () => {
  for (const ask of [true, false]) {
    askForHybrid(ask);
    installBoth();
    using under = serverEngine(() => 1);
    const port = under.listen(2, "hbone");
    assert.equal(await groupWith(port, "X25519:P-256:X25519MLKEM768"), ask ? "X25519MLKEM768" : "X25519");
    assert.equal(
      await groupWith(port, "X25519MLKEM768:X25519"),
      "X25519MLKEM768",
      "a key share of it is taken in any case",
    );
    assert.equal(await groupWith(port, "X25519:P-256"), "X25519");
    assert.equal(await groupWith(port, "P-256"), "prime256v1", "a client that does not know it is served as before");
  }
  askForHybrid(true);
  installBoth();
});

const suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
const refusal = "ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN";

test("a client whose identity is refused is sent the alert certificate_unknown, in either cipher suite", async () => {
  installBoth();
  const leaf = await ca.leaf("spiffe://cluster.local/ns/default/sa/somebody-else");
  using under = serverEngine(() => 1);
  const port = under.listen(2, "hbone");
  for (const ciphers of suites) {
    const socket = tls.connect({
      ...{ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] },
      ...{ ciphers, cert: leaf.chainPem, key: leaf.keyPem },
    });
    // It has the preface behind its handshake, as every client of HTTP/2.
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert.equal(await howItEnds(socket), refusal, ciphers);
    assert.equal(socket.getCipher()?.standardName ?? ciphers, ciphers);
  }
});

test("a server whose identity our dial refuses is sent the alert as well", async () => {
  installBoth();
  const leaf = await ca.leaf("spiffe://cluster.local/ns/default/sa/somebody-else");
  for (const ciphers of suites) {
    const ends: Promise<string>[] = [];
    const server = tls.createServer({
      ...{ cert: leaf.chainPem, key: leaf.keyPem, ca: ca.pem, requestCert: true, ALPNProtocols: ["h2"], ciphers },
    });
    server.on("secureConnection", (socket) => ends.push(howItEnds(socket)));
    const shaken = once(server, "secureConnection");
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert.ok(address && typeof address === "object");
    using under = clientEngine(() => address.port);
    assert.equal(await dialRefused(under.listen(1, "outbound")), "ECONNRESET");
    assert.equal((await under.event("closed")).cause, "tls-peer-rejected");
    await shaken;
    assert.equal(await ends[0], refusal, ciphers);
    server.close();
  }
});

test("between two engines a refused client knows that it was its identity", async () => {
  const app = await serve((socket) => socket.pipe(socket));
  using tunnel = pair(app.port, {
    server: (event) =>
      event.type === "peer-certificate"
        ? { conn: event.conn, generation: event.generation, type: "reject-peer" }
        : undefined,
  });
  assert.equal(await dialRefused(tunnel.port), "ECONNRESET");
  const closed = await tunnel.client.event("closed");
  assert.equal(closed.cause, "tls-failed");
  assert.match(closed.message, /alert certificate unknown/);
  app.close();
});
