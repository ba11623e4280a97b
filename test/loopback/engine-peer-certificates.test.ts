// tests · a tunnel ends with what its peer was verified by: the root, or the time of the certificate. At both ends of it
// (docs/reference/failures.md, D8, D9).
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";
import tls from "node:tls";
import { installIdentity, installRoots } from "../../agent/engine/addon.ts";
import { type Leaf, TestCa } from "./certificates.ts";
import {
  CLIENT,
  clientEngine,
  clientId,
  SERVER,
  serverEngine,
  serverId,
  serverLeaf,
  ca as serversCa,
  welcome,
} from "./hbone-pair.ts";
import { dial, howItEnds, type Server, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";

const old = await TestCa.create("old root");
const next = await TestCa.create("next root");

type Under = { readonly client: TestEngine; readonly server: TestEngine; readonly port: number } & Disposable;
const echo = (): Promise<Server> => serve((socket) => socket.pipe(socket));

/** A client and a server with these leaves; both trust `roots`. */
function between(app: Server, client: Leaf, server: Leaf, roots: readonly string[]): Under {
  trust(roots);
  installIdentity(CLIENT, client.chainPem, client.pkcs8);
  installIdentity(SERVER, server.chainPem, server.pkcs8);
  const serving = serverEngine(() => app.port);
  const hbone = serving.listen(2, "hbone");
  const dialling = clientEngine(() => hbone);
  return {
    client: dialling,
    server: serving,
    port: dialling.listen(1, "outbound"),
    [Symbol.dispose]() {
      dialling[Symbol.dispose]();
      serving[Symbol.dispose]();
      app.close();
    },
  };
}

/** As the agent does it when the root file has changed. */
function trust(roots: readonly string[], ...engines: readonly TestEngine[]): void {
  installRoots(roots.join("\n"));
  for (const { engine } of engines) engine.checkPeers();
}

async function says(socket: net.Socket, word: string): Promise<void> {
  socket.write(word);
  const [answer] = (await once(socket, "data")) as [Buffer];
  assert.equal(answer.toString(), word);
}

async function opened(port: number): Promise<net.Socket> {
  const socket = await dial(port);
  await says(socket, "hello");
  return socket;
}

const chained = (leaf: Leaf, ...further: readonly string[]): Leaf => ({
  ...leaf,
  chainPem: [leaf.chainPem, ...further].join("\n"),
});

for (const side of ["client", "server"] as const) {
  test(`a stream ends when the root of the ${side}'s certificate goes, and goes on when another root comes`, async () => {
    const leaves = {
      client: await (side === "client" ? old : next).leaf(clientId),
      server: await (side === "server" ? old : next).leaf(serverId),
    };
    using under = between(await echo(), leaves.client, leaves.server, [old.pem]);
    const both = [under.client, under.server];
    trust([old.pem, next.pem], ...both);
    const socket = await opened(under.port);
    trust([next.pem, serversCa.pem, old.pem], ...both);
    await says(socket, "still here");
    assert.equal(under.client.engine.stats().tunnelsDialledTotal, 1);

    const ended = howItEnds(socket);
    trust([next.pem], ...both);
    // The end that verified it ends it at once: no event of the loop was needed.
    const verifier = side === "client" ? under.server : under.client;
    const { cause, message } = await verifier.event("closed");
    assert.equal(cause, "peer-certificate-ended");
    assert.equal(message, "the root of the peer's certificate is no longer trusted");
    assert.equal(await ended, "ECONNRESET");
    assert.equal(verifier.engine.stats().tunnels, 0);

    // A new connection is refused as the old one was ended.
    assert.notEqual(await howItEnds(net.connect(under.port, "127.0.0.1")), "end");
  });
}

test("only what is under the root that went ends: two callers of one server", async () => {
  const app = await echo();
  using under = between(app, await old.leaf(clientId), await next.leaf(serverId), [old.pem, next.pem]);
  const first = await opened(under.port);
  const other = await next.leaf(clientId);
  installIdentity(CLIENT, other.chainPem, other.pkcs8);
  under.client.engine.retireTunnels(CLIENT);
  const second = await opened(under.port);
  const ended = howItEnds(first);
  trust([next.pem], under.client, under.server);
  assert.equal(await ended, "ECONNRESET");
  await says(second, "still here");
  assert.deepEqual(
    under.server.closed().map(({ cause }) => cause),
    ["peer-certificate-ended"],
  );
  second.destroy();
});

test("a chain with an intermediate ends with its root", async () => {
  const intermediate = await TestCa.create("intermediate");
  const leaf = chained(await intermediate.leaf(clientId), await old.vouchFor(intermediate));
  using under = between(await echo(), leaf, await next.leaf(serverId), [old.pem, next.pem]);
  const socket = await opened(under.port);
  const ended = howItEnds(socket);
  trust([next.pem], under.server);
  assert.equal(await ended, "ECONNRESET");
});

test("an intermediate that only the roots' file had ends its tunnels when it goes, though the root stays", async () => {
  const intermediate = await TestCa.create("intermediate");
  const kept = await old.vouchFor(intermediate);
  const roots = [old.pem, next.pem];
  using under = between(await echo(), await intermediate.leaf(clientId), await next.leaf(serverId), [...roots, kept]);
  const socket = await opened(under.port);
  trust([kept, ...roots], under.server);
  await says(socket, "still here");
  const ended = howItEnds(socket);
  trust(roots, under.server);
  assert.equal(await ended, "ECONNRESET");
});

test("a cross-signed root: a tunnel goes on under the root that stays, and ends with the last that vouches for it", async () => {
  const crossed = await TestCa.create("crossed root");
  const leaf = chained(await crossed.leaf(clientId), await old.vouchFor(crossed));
  using under = between(await echo(), leaf, await next.leaf(serverId), [old.pem, next.pem]);
  const socket = await opened(under.port);
  trust([old.pem, crossed.pem, next.pem], under.server);
  await says(socket, "both");
  trust([crossed.pem, next.pem], under.server);
  await says(socket, "one");
  trust([await crossed.renewed(), next.pem], under.server);
  await says(socket, "the same key in another certificate");
  const ended = howItEnds(socket);
  trust([next.pem], under.server);
  assert.equal(await ended, "ECONNRESET");
});

test("a handshake under way when its root goes is refused: before the chain came, and before the verdict", async () => {
  const leaf = await old.leaf(clientId);
  let decides = true;
  trust([old.pem, next.pem]);
  const server = await next.leaf(serverId);
  installIdentity(SERVER, server.chainPem, server.pkcs8);
  // The verdict about a peer may take its time.
  using under = new TestEngine((event) => (decides ? welcome(event, clientId) : undefined));
  under.engine.setPod(2, { netnsCookie: 2n, identity: SERVER });
  const port = under.listen(2, "hbone");
  const shake = (socket?: net.Socket): tls.TLSSocket => {
    const shaking = tls.connect({
      ...(socket ? { socket } : { port, host: "127.0.0.1" }),
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      cert: leaf.chainPem,
      key: leaf.keyPem,
    });
    shaking.on("error", () => {});
    return shaking;
  };
  const tcp = net.connect(port, "127.0.0.1");
  await once(tcp, "connect");
  while (under.engine.stats().handshakes === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  trust([next.pem], under);
  const late = shake(tcp);
  assert.equal((await under.event("handshake-failed")).reason, "unknown-issuer");
  late.destroy();

  trust([old.pem, next.pem], under);
  decides = false;
  const seen = under.events.length;
  const waits = shake();
  await under.event("peer-certificate");
  trust([next.pem], under);
  while (under.engine.stats().tunnels > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const failed = under.events.slice(seen).filter((event) => event.type === "handshake-failed");
  assert.deepEqual(
    failed.map(({ reason }) => reason),
    ["unknown-issuer"],
  );
  waits.destroy();
});

type Leaves = { readonly client: Leaf; readonly server: Leaf };

/** False where a busy machine came too late to see another tunnel serve new streams before the certificate of `lifeMs` ended. */
async function servesNewOnAnother(side: keyof Leaves, renewed: Leaves, lifeMs: number): Promise<boolean> {
  const endsMs = Date.now() + lifeMs;
  const brief = await next.leaf(side === "client" ? clientId : serverId, { notAfter: new Date(endsMs) });
  const leaves = { ...renewed, [side]: brief };
  using under = between(await echo(), leaves.client, leaves.server, [next.pem]);
  const verifier = side === "client" ? under.server : under.client;
  const dialled = (): number => under.client.engine.stats().tunnelsDialledTotal;
  // The last quarter of its life is the time in question, and a certificate has whole seconds.
  const isYoung = (): boolean => Date.now() < endsMs - lifeMs / 2;
  const unlessLate = (error: unknown): undefined => {
    if (isYoung()) throw error;
  };
  const first = await opened(under.port).catch(unlessLate);
  // As the certificates of a pod are renewed, but for a client that does not leave its tunnels by itself.
  installIdentity(CLIENT, renewed.client.chainPem, renewed.client.pkcs8);
  installIdentity(SERVER, renewed.server.chainPem, renewed.server.pkcs8);
  (await opened(under.port).catch(unlessLate))?.destroy();
  const dialledSoFar = dialled();
  if (!isYoung() || first === undefined) return false;
  assert.equal(dialledSoFar, 1);

  const ended = howItEnds(first);
  const hasEnded = (): boolean => verifier.closed().some(({ cause }) => cause === "peer-certificate-ended");
  // While the first stream runs, another tunnel serves new ones.
  while (dialled() === 1) (await opened(under.port).catch(unlessLate))?.destroy();
  if (hasEnded()) return false;
  const second = await opened(under.port);
  const wasLast = await verifier.event("closed", ({ cause }) => cause === "peer-certificate-ended");
  assert.equal(wasLast.message, "the peer's certificate has expired");
  assert.ok(Date.now() >= endsMs - 1_000);
  assert.notEqual(await ended, "end");
  await says(second, "still here");
  second.destroy();
  assert.equal(dialled(), 2);
  return true;
}

for (const side of ["client", "server"] as const) {
  test(`a tunnel takes no new streams towards the end of the ${side}'s certificate, and ends with it`, async () => {
    const renewed = { client: await next.leaf(clientId), server: await next.leaf(serverId) };
    for (let lifeMs = 4_000; !(await servesNewOnAnother(side, renewed, lifeMs)); lifeMs *= 2)
      assert.ok(lifeMs < 32_000, "no other tunnel served new streams before the end");
  });
}

test("no session is resumed, so none outlives a root: neither given nor taken", async () => {
  using under = between(await echo(), await next.leaf(clientId), await next.leaf(serverId), [next.pem]);
  const leaf = await next.leaf(clientId);
  const socket = tls.connect({
    port: under.server.listen(2, "hbone"),
    host: "127.0.0.1",
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
    cert: leaf.chainPem,
    key: leaf.keyPem,
  });
  let sessions = 0;
  socket.on("session", () => {
    sessions += 1;
  });
  socket.on("error", () => {});
  await under.server.event("peer-certificate");
  // The server's SETTINGS follow whatever the handshake sent.
  await once(socket, "data");
  socket.destroy();
  assert.equal(sessions, 0);

  const reused: boolean[] = [];
  const offering = tls.createServer({
    cert: serverLeaf.chainPem,
    key: serverLeaf.keyPem,
    ca: next.pem,
    requestCert: true,
    ALPNProtocols: ["h2"],
  });
  offering.on("tlsClientError", () => {});
  offering.on("secureConnection", (taken) => {
    reused.push(taken.isSessionReused());
    taken.on("error", () => {});
    taken.destroy();
  });
  offering.listen(0, "127.0.0.1");
  await once(offering, "listening");
  trust([next.pem, serversCa.pem]);
  using dialling = clientEngine(() => (offering.address() as net.AddressInfo).port);
  const port = dialling.listen(1, "outbound");
  for (let dialled = 1; dialled <= 3; dialled++) {
    await howItEnds(net.connect(port, "127.0.0.1"));
    assert.equal(reused.length, dialled);
  }
  assert.deepEqual(reused, [false, false, false]);
  offering.close();
});
